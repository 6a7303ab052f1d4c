"""The channels of a position as layers: read in the background, shown in one go, the former position's put away."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_vstain.core.progress import Progress
from napari_vstain.widgets.layers.contrast import Contrast
from napari_vstain.widgets.layers.display import sampled_limits
from napari_vstain.widgets.layers.geometry import Placement, placement
from napari_vstain.widgets.layers.registry import Kind, LayerOrigin, LayerRegistry

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset, Position

IN_MEMORY_BYTES = 2**30
"""Positions up to this size are read whole, so that no slider ever waits for the disk."""


@dataclass(frozen=True)
class Picture:
    """One channel of a position, ready to be shown."""

    origin: LayerOrigin
    data: Any
    """An array with the axes of `place`, or a pyramid of dask arrays."""
    limits: tuple[float, float]
    place: Placement


def read_pictures(
    dataset: "Dataset", position: "Position", sources: Sequence[str], targets: Sequence[str], progress: Progress
) -> list[Picture]:
    """Return the channels of a position to show, sources first; reads the disk."""
    whole = position.shape[0] * _bytes(position) <= IN_MEMORY_BYTES
    labels = "".join(axis for axis, n in zip("tzyx", _tzyx(position), strict=True) if n > 1 or axis in "yx")
    place = placement(labels, position.spacing_um, position.translation_um)
    progress.phase(f"Loading {position.key}", len(sources) + len(targets), "channels")
    pictures = []
    for channel in (*sources, *targets):
        is_source = channel in sources
        kind: Kind = "source" if is_source else "target"
        origin = LayerOrigin(kind, channel, str(dataset.path), position.key)
        data = _read(position, channel, labels) if whole else _pyramid(position, channel, labels)
        limits = sampled_limits(data if whole else data[-1])
        pictures.append(Picture(origin, data, limits, place))
        progress.advance()
    return pictures


def show_pictures(
    viewer: Any, registry: LayerRegistry, contrast: Contrast, pictures: Sequence[Picture]
) -> Iterator[None]:
    """Put the former position's layers away and add the new one's, yielding after each so that the window breathes."""
    nothing_else = all(registry.origin(layer) is not None for layer in viewer.layers)
    shown = {picture.origin for picture in pictures}
    for layer, origin in list(registry.shown(viewer)):
        if origin in shown or (origin.dataset and origin.kind in ("source", "target")):
            viewer.layers.remove(layer)  # it can be read again
    yield
    for picture in pictures:
        _add(viewer, registry, contrast, picture)
        yield
    if nothing_else:
        viewer.reset_view()


def put_away(viewer: Any, registry: LayerRegistry, keep: tuple[str, str]) -> None:
    """Remove the images that were shown of other positions than `keep`, (dataset, position), by us and by nobody else.

    What a reader added stays: it was asked for.
    """
    for layer, origin in list(registry.shown(viewer, "source", "target")):
        read = "path" in (layer.metadata.get("vstain") or {})
        if origin.dataset and (origin.dataset, origin.position) != keep and not read:
            viewer.layers.remove(layer)


def _add(viewer: Any, registry: LayerRegistry, contrast: Contrast, picture: Picture) -> None:
    from napari.layers import Image

    origin = picture.origin
    layer = Image(
        picture.data,
        name=origin.channel,
        multiscale=isinstance(picture.data, list),
        contrast_limits=picture.limits,
        colormap="gray" if origin.kind == "source" else registry.colour(origin.channel),
        blending="translucent_no_depth" if origin.kind == "source" else "additive",
        metadata={"vstain": {"kind": origin.kind, "channel": origin.channel, "position": origin.position}},
        **picture.place.arguments(),
    )
    viewer.add_layer(registry.add(layer, origin))
    contrast.follow(layer)


def _tzyx(position: "Position") -> tuple[int, int, int, int]:
    t, _, z, y, x = position.shape
    return t, z, y, x


def _bytes(position: "Position") -> int:
    import numpy as np

    return int(np.prod(position.shape[1:])) * np.dtype(position.dtype).itemsize


def _read(position: "Position", channel: str, labels: str) -> Any:
    import numpy as np

    times = [position.read([channel], t=t)[0] for t in range(position.shape[0])]
    return _squeezed(np.stack(times), labels)


def _pyramid(position: "Position", channel: str, labels: str) -> list[Any]:
    index = position.channel_index(channel)
    return [_squeezed(level[:, index], labels) for level in position.levels()]


def _squeezed(stack: Any, labels: str) -> Any:
    """Return a (T, Z, Y, X) stack without the axes that `labels` leaves out."""
    return stack[tuple(slice(None) if axis in labels else 0 for axis in "tzyx")]
