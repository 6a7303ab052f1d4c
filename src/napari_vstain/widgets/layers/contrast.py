"""A stain has one contrast: what was measured and what was predicted are shown at the same scale, until unlinked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from napari_vstain.core.arrays import Limits
from napari_vstain.widgets.layers.registry import LayerOrigin, LayerRegistry


class Contrast:
    """The contrast limits of the stains of one viewer. Limits that a person sets hold for the stain everywhere."""

    def __init__(self, registry: LayerRegistry) -> None:
        self._registry = registry
        self._known: WeakKeyDictionary[Any, Limits] = WeakKeyDictionary()
        """Layers, also those that were put away, and the limits that are their own."""
        self._chosen: dict[tuple[str, str], Limits] = {}
        self._linked = True
        self._ours = False

    @property
    def linked(self) -> bool:
        """True while target and prediction of a stain are shown at the same scale."""
        return self._linked

    @linked.setter
    def linked(self, wanted: bool) -> None:
        self._linked = wanted
        with self._setting():
            for layer in list(self._known):
                layer.contrast_limits = self.limits(self._origin(layer), self._known[layer])

    def limits(self, origin: LayerOrigin, own: Limits) -> Limits:
        """Return the limits of a layer: those a person set, else those of the target it predicts, else its own."""
        if (chosen := self._chosen.get(self._key(origin))) is not None:
            return chosen
        if self._linked and origin.kind == "prediction":
            for layer, known in self._known.items():
                other = self._origin(layer)
                if other.kind == "target" and _same_field(other, origin):
                    return known
        return own

    def follow(self, layer: Any) -> None:
        """Link a layer of the registry with those of its stain, and learn what a person sets.

        Its limits now are its own: of a target they hold for the predictions of it.
        """
        origin = self._registry.origin(layer)
        if origin is None or origin.kind not in ("target", "prediction") or layer in self._known:
            return
        self._known[layer] = tuple(layer.contrast_limits)
        layer.events.contrast_limits.connect(self._changed)
        with self._setting():
            for other in list(self._known):
                if self._origin(other).channel == origin.channel:
                    other.contrast_limits = self.limits(self._origin(other), self._known[other])

    def pairs(self, viewer: Any) -> bool:
        """Return True if a target and a prediction of it are both among the layers."""
        targets = [origin for _, origin in self._registry.shown(viewer, "target")]
        predictions = [origin for _, origin in self._registry.shown(viewer, "prediction")]
        return any(_same_field(target, made) for target in targets for made in predictions)

    def _changed(self, event: Any) -> None:
        layer = event.source
        if self._ours or layer not in self._known:
            return
        origin = self._origin(layer)
        self._chosen[self._key(origin)] = tuple(layer.contrast_limits)
        with self._setting():
            for other in list(self._known):
                if other is not layer and self._key(self._origin(other)) == self._key(origin):
                    other.contrast_limits = layer.contrast_limits

    def _key(self, origin: LayerOrigin) -> tuple[str, str]:
        return ("" if self._linked else origin.kind, origin.channel)

    def _origin(self, layer: Any) -> LayerOrigin:
        return self._registry.origin(layer) or LayerOrigin("target", "")

    @contextmanager
    def _setting(self) -> Iterator[None]:
        self._ours = True
        try:
            yield
        finally:
            self._ours = False


def _same_field(one: LayerOrigin, other: LayerOrigin) -> bool:
    return (one.channel, one.dataset, one.position) == (other.channel, other.dataset, other.position)
