"""The layers of predictions: named by what they are of and made by, kept for the return to a position, in bounds."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np

from napari_vstain.core.inference.augment import UNCERTAINTY
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.tiling.tile_queue import EVERYTHING, Area
from napari_vstain.widgets.compat import full_resolution
from napari_vstain.widgets.layers.contrast import Contrast
from napari_vstain.widgets.layers.display import training_limits
from napari_vstain.widgets.layers.geometry import carried
from napari_vstain.widgets.layers.registry import Kind, LayerOrigin, LayerRegistry
from napari_vstain.widgets.layers.repaint import Repainter

KEPT_BYTES = 2**30
"""Predictions of positions that were left are kept up to this size; the oldest are forgotten first."""


@dataclass(frozen=True)
class Subject:
    """What is predicted, and by what: a prediction of the same subject fills the same layers."""

    images: tuple[Hashable, ...]
    """Channel and position, or the image itself, of each source."""
    place: tuple[str, str]
    """Dataset and position; empty for images of none."""
    axes: str
    shape: tuple[int, ...]
    model: tuple[str, str]
    """Its name, and its fingerprint: an exported file has that of its checkpoint."""
    tasks: tuple[str, ...]


class PredictionLayers:
    """The layers of one subject: one a target, and the arrays behind them."""

    def __init__(self, subject: Subject, spec: ModelSpec) -> None:
        self.subject, self.spec = subject, spec
        self.outputs = {output.task: _array(output, subject.axes, subject.shape) for output in spec.outputs}
        """By task, float32, (T, C, Z, Y, X); NaN where nothing is predicted yet."""
        self.recipe: object = None
        """With what settings it was painted: other ones begin on a cleared layer."""
        self.layers: list[Any] = []
        self.repainters: list[Repainter] = []

    @property
    def size_bytes(self) -> int:
        """What the arrays take."""
        return sum(array.nbytes for array in self.outputs.values())

    def add(self, layer: Any) -> None:
        """Paint on a layer from now on."""
        self.layers.append(layer)
        self.repainters.append(Repainter(layer))

    def clear(self, area: Area, recipe: object) -> None:
        """Forget what was predicted of an area; all of it, if it was made in another way."""
        where = area if recipe == self.recipe else EVERYTHING
        self.recipe = recipe
        for output in self.spec.outputs:
            scales = (1.0, *output.scale)
            t, z, y, x = (_scaled(part, scale) for part, scale in zip(where, scales, strict=True))
            self.outputs[output.task][t, :, z, y, x] = np.nan

    def ask(self) -> None:
        """Repaint soon."""
        for repainter in self.repainters:
            repainter.ask()

    def finish(self) -> None:
        """Repaint a last time, thumbnails included."""
        for repainter in self.repainters:
            repainter.finish()


class Predictions:
    """The predictions of one viewer: on the canvas at their position, put away in memory while another one is open."""

    def __init__(self, viewer: Any, registry: LayerRegistry, contrast: Contrast) -> None:
        self._window, self._registry, self._contrast = ref(viewer), registry, contrast
        self._all: list[PredictionLayers] = []
        """The last painted last."""
        self._moving = False
        viewer.layers.events.removed.connect(self._removed)

    @property
    def _viewer(self) -> Any:
        viewer = self._window()
        assert viewer is not None, "the viewer of these predictions is gone"
        return viewer

    def of(self, image: Any) -> PredictionLayers | None:
        """Return where the prediction of an image was painted last."""
        key = self._key(image)
        return next((known for known in reversed(self._all) if key in known.subject.images), None)

    def layers_for(self, model: str, spec: ModelSpec, images: Sequence[Any]) -> PredictionLayers:
        """Return where to paint a model's prediction of images; what an earlier model painted of its stains is hidden.

        Parameters
        ----------
        model : str
            Its name, for people.
        """
        image = images[0]
        subject = self._subject(model, spec, images)
        known = next((prediction for prediction in self._all if prediction.subject == subject), None)
        if known is None:
            known = PredictionLayers(subject, spec)
            self._add_layers(known, model, image)
        else:
            self._all.remove(known)
        self._all.append(known)
        self._hide(known, image)
        for layer in known.layers:
            if layer not in self._viewer.layers:  # it was put away with another position
                self._viewer.add_layer(layer)
            origin = self._registry.origin(layer)
            layer.visible = layer.visible or (origin is not None and origin.kind == "prediction")
        return known

    def leave(self, place: tuple[str, str]) -> None:
        """Take the predictions of every dataset's position but `place` from the canvas, and keep them."""
        viewer = self._viewer
        with self._own_doing():
            for prediction in self._all:
                if prediction.subject.place[0] and prediction.subject.place != place:
                    for layer in prediction.layers:
                        if layer in viewer.layers:
                            viewer.layers.remove(layer)
        self._forget_oldest()

    def come_back(self, place: tuple[str, str]) -> Iterator[None]:
        """Show the predictions that were made at `place`, as they were left."""
        viewer = self._viewer
        for prediction in list(self._all):
            for layer in prediction.layers if prediction.subject.place == place else ():
                if layer not in viewer.layers:
                    active = viewer.layers.selection.active
                    viewer.add_layer(layer)
                    viewer.layers.selection.active = active or layer
                    yield

    # What is known of an image

    def _subject(self, model: str, spec: ModelSpec, images: Sequence[Any]) -> Subject:
        origin = self._registry.origin(images[0])
        return Subject(
            images=tuple(self._key(image) for image in images),
            place=(origin.dataset, origin.position) if origin else ("", ""),
            axes=self._registry.axes(images[0]),
            shape=tuple(full_resolution(images[0]).shape),
            model=(model, spec.fingerprint),
            tasks=tuple(output.task for output in spec.outputs),
        )

    def _key(self, image: Any) -> Hashable:
        origin = self._registry.origin(image)
        of_dataset = origin is not None and origin.dataset
        return (origin.dataset, origin.position, origin.channel) if origin and of_dataset else ref(image)

    # Layers

    def _add_layers(self, prediction: PredictionLayers, model: str, image: Any) -> None:
        viewer, registry = self._viewer, self._registry
        active = viewer.layers.selection.active
        place = prediction.subject.place
        for output in prediction.spec.outputs:
            uncertain = output.task.endswith(UNCERTAINTY)
            kind: Kind = "uncertainty" if uncertain else "prediction"
            for number, channel in enumerate(output.channels):
                origin = LayerOrigin(kind, channel, *place)
                own = _limits(prediction.spec.statistics.get(channel), uncertain)
                layer = _layer(
                    _channel(prediction.outputs[output.task], number, prediction.subject.axes),
                    name=f"{channel}_{kind} · {place[1] or image.name} · {model}",
                    contrast_limits=self._contrast.limits(origin, own),
                    colormap="inferno" if uncertain else registry.colour(channel),
                    visible=not uncertain,
                    metadata={"vstain": {"kind": kind, "channel": channel, "model": model, "position": place[1]}},
                    **carried(image, _factors(output, prediction.subject.axes)),
                )
                viewer.add_layer(registry.add(layer, origin))
                self._contrast.follow(layer)
                prediction.add(layer)
        if active is not None:
            viewer.layers.selection.active = active

    def _hide(self, prediction: PredictionLayers, image: Any) -> None:
        """Hide the measured stains that are about to be predicted, and what other models made of the same field."""
        subject, stains = prediction.subject, set(prediction.spec.targets)
        for other in self._all:
            same = other.subject.place == subject.place if subject.place[0] else other.subject.images == subject.images
            for layer in other.layers if same and other is not prediction else ():
                origin = self._registry.origin(layer)
                if origin is not None and origin.channel in stains:
                    layer.visible = False
        for layer, origin in self._registry.shown(self._viewer, "target"):
            if subject.place[0] and (origin.dataset, origin.position) == subject.place and origin.channel in stains:
                layer.visible = False

    def _removed(self, event: Any) -> None:
        """Forget a prediction of which the user removed a layer."""
        if not self._moving:
            self._all = [prediction for prediction in self._all if event.value not in prediction.layers]

    def _forget_oldest(self) -> None:
        layers = set(self._viewer.layers)
        away = [prediction for prediction in self._all if not layers & set(prediction.layers)]
        excess = sum(prediction.size_bytes for prediction in away) - KEPT_BYTES
        for prediction in away:
            if excess <= 0:
                break
            self._all.remove(prediction)
            excess -= prediction.size_bytes

    @contextmanager
    def _own_doing(self) -> Iterator[None]:
        self._moving = True
        try:
            yield
        finally:
            self._moving = False


def _layer(data: Any, **options: Any) -> Any:
    from napari.layers import Image

    return Image(data, blending="additive", **options)


def _limits(statistics: Statistics | None, uncertain: bool) -> tuple[float, float]:
    if statistics is None:
        return 0.0, 1.0
    return (0.0, max(statistics.std, 1e-6)) if uncertain else training_limits(statistics)


def _factors(output: OutputSpec, axes: str) -> list[float]:
    """Return the output's pixels per pixel of the image, for each of its axes."""
    scale: Mapping[str, float] = dict(zip("ZYX", output.scale, strict=True))
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


def _scaled(part: slice, scale: float) -> slice:
    """Return a part of an axis in pixels of an output; an axis that the output projects is taken whole."""
    if part == slice(None) or not scale:
        return slice(None)
    return slice(math.floor(part.start * scale), math.ceil(part.stop * scale))
