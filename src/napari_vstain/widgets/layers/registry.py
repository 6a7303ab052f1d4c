"""What is known of layers beside napari: which are ours and where they come from, and what axes a person said."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from napari_vstain.widgets.layers.axes import assumed_axes, labelled_axes
from napari_vstain.widgets.layers.display import colormap, is_known

Kind = Literal["source", "target", "prediction", "uncertainty"]


@dataclass(frozen=True)
class LayerOrigin:
    """Where a layer of ours comes from."""

    kind: Kind
    channel: str
    dataset: str = ""
    """The store's path, "" for a layer that comes from no store."""
    position: str = ""


class LayerRegistry:
    """The layers of one viewer, held by reference and never found by their names. It keeps none of them alive."""

    def __init__(self) -> None:
        self._origins: WeakKeyDictionary[Any, LayerOrigin] = WeakKeyDictionary()
        self._stains: list[str] = []
        self._axes: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def add(self, layer: Any, origin: LayerOrigin) -> Any:
        """Remember a layer that we made, and return it."""
        self._origins[layer] = origin
        return layer

    def origin(self, layer: Any) -> LayerOrigin | None:
        """Return where a layer comes from, or None for a user's own."""
        return self._origins.get(layer)

    def colour(self, stain: str) -> str:
        """Return the colour map of a stain: the same one for its measured and its predicted images."""
        if stain not in self._stains:
            self._stains.append(stain)
        unknown = [known for known in self._stains if not is_known(known)]
        return colormap(stain, unknown.index(stain) if stain in unknown else 0)

    def axes(self, layer: Any) -> str:
        """Return the axes of an image, a part of ``TCZYX``; "" where a person must say what they are."""
        return self._axes.get(layer) or labelled_axes(layer) or assumed_axes(layer)

    def say_axes(self, layer: Any, axes: str) -> None:
        """Remember what a person says of an image whose labels say nothing; "" forgets it."""
        self._axes[layer] = axes

    def shown(self, viewer: Any, *kinds: Kind) -> Iterator[tuple[Any, LayerOrigin]]:
        """Yield our layers that are still in the viewer, bottom first, of some kinds or of all."""
        for layer in list(viewer.layers):
            origin = self._origins.get(layer)
            if origin is not None and (not kinds or origin.kind in kinds):
                yield layer, origin
