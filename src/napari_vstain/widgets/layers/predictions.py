"""Layers that fill while a prediction runs, exactly over the image it is made of."""

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_vstain.core.inference.augment import UNCERTAINTY
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.widgets.compat import full_resolution
from napari_vstain.widgets.layers.book import Book, Kind, Origin
from napari_vstain.widgets.layers.display import colormap, training_limits
from napari_vstain.widgets.layers.geometry import carried
from napari_vstain.widgets.layers.repaint import Repainter


class Canvases:
    """The layers of one image's prediction by one model: one a target, kept for the next prediction of it."""

    def __init__(self, viewer: Any, book: Book, spec: ModelSpec, image: Any) -> None:
        axes = book.axes(image)
        self.outputs = {output.task: _array(output, axes, full_resolution(image).shape) for output in spec.outputs}
        """By task, float32, (T, C, Z, Y, X); NaN where nothing is predicted yet."""
        self.layers: list[Any] = []
        self._spec = spec
        self._shape = full_resolution(image).shape
        for output in spec.outputs:
            for place, channel in enumerate(output.channels):
                data = _channel(self.outputs[output.task], place, axes)
                self.layers.append(_layer(viewer, book, spec, output, channel, data, image))
        self.repainters = [Repainter(layer) for layer in self.layers]

    def fits(self, viewer: Any, spec: ModelSpec, image: Any) -> bool:
        """Return True if these layers are still there and can take the same model's prediction of `image`."""
        here = all(layer in viewer.layers for layer in self.layers)
        same = spec.fingerprint == self._spec.fingerprint and full_resolution(image).shape == self._shape
        return here and same

    def ask(self) -> None:
        """Repaint soon."""
        for repainter in self.repainters:
            repainter.ask()

    def finish(self) -> None:
        """Repaint a last time, thumbnails included."""
        for repainter in self.repainters:
            repainter.finish()


class Predictions:
    """The canvases of every image, so that a view, then another, then the whole fill the same layer."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Any, Canvases] = WeakKeyDictionary()

    def of(self, image: Any) -> Canvases | None:
        """Return where the prediction of an image was painted last."""
        return self._of.get(image)

    def canvases(self, viewer: Any, book: Book, spec: ModelSpec, image: Any) -> Canvases:
        """Return where to paint a model's prediction of an image; what another model painted stays."""
        known = self._of.get(image)
        if known is None or not known.fits(viewer, spec, image):
            known = self._of[image] = Canvases(viewer, book, spec, image)
        _uncover(viewer, book, spec, image)
        for layer in known.layers:
            origin = book.origin(layer)
            layer.visible = layer.visible or (origin is not None and origin.kind == "prediction")
        return known


def _layer(viewer: Any, book: Book, spec: ModelSpec, output: OutputSpec, channel: str, data: Any, image: Any) -> Any:
    from napari.layers import Image

    uncertain = output.task.endswith(UNCERTAINTY)
    kind: Kind = "uncertainty" if uncertain else "prediction"
    layer = Image(
        data,
        name=f"{channel}_{kind}",
        contrast_limits=_limits(spec.statistics.get(channel), uncertain),
        colormap="inferno" if uncertain else colormap(channel, spec.targets.index(channel)),
        blending="additive",
        visible=not uncertain,
        metadata={"vstain": {"kind": kind, "channel": channel, "model": spec.name, "weights": spec.weights}},
        **carried(image, _factors(output, book.axes(image))),
    )
    origin = book.origin(image)
    where = (origin.dataset, origin.position) if origin else ("", "")
    active = viewer.layers.selection.active
    viewer.add_layer(book.enter(layer, Origin(kind, channel, *where)))
    if active is not None:
        viewer.layers.selection.active = active
    return layer


def _limits(statistics: Statistics | None, uncertain: bool) -> tuple[float, float]:
    if statistics is None:
        return 0.0, 1.0
    return (0.0, max(statistics.std, 1e-6)) if uncertain else training_limits(statistics)


def _uncover(viewer: Any, book: Book, spec: ModelSpec, image: Any) -> None:
    """Hide the measured stains that we loaded with `image` and that are about to be predicted."""
    position = book.origin(image)
    for layer, origin in book.shown(viewer, "target"):
        if position is not None and origin.position == position.position and origin.channel in spec.targets:
            layer.visible = False


def _factors(output: OutputSpec, axes: str) -> list[float]:
    """Return the output's pixels per pixel of the image, for each of its axes."""
    scale = dict(zip("ZYX", output.scale, strict=True))
    return [scale.get(axis, 1) for axis in axes]


def _array(output: OutputSpec, axes: str, shape: tuple[int, ...]) -> Any:
    """Return an empty output, (T, C, Z, Y, X), for an image of some of the axes T, Z, Y, X."""
    sizes = dict(zip(axes, shape, strict=True))
    scale = dict(zip("ZYX", output.scale, strict=True))
    z, y, x = (max(math.ceil(sizes.get(axis, 1) * scale[axis]), 1) for axis in "ZYX")
    return np.full((sizes.get("T", 1), len(output.channels), z, y, x), np.nan, dtype=np.float32)


def _channel(array: Any, place: int, axes: str) -> Any:
    """Return one channel of an output, with the axes of the image."""
    stack = array[:, place]
    return stack[tuple(slice(None) if axis in axes else 0 for axis in "TZYX")]
