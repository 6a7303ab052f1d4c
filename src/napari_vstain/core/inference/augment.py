"""Predict an image in its eight flips and rotations, and say how far they agree (test-time augmentation)."""

from enum import StrEnum

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.engines.base import Engine
from napari_vstain.core.models.spec import ModelSpec, OutputSpec
from napari_vstain.core.progress import CancelToken

UNCERTAINTY = "_uncertainty"
"""Ends the task, and the channel, that holds the standard deviation over the flips and rotations."""


class Augmentation(StrEnum):
    """What is made of the eight predictions."""

    NONE = "none"
    MEAN = "mean"
    MEDIAN = "median"


class AugmentedEngine(Engine):
    """An engine that runs another one on every flip and rotation of a batch.

    Exact in tiles like the engine itself: a batch and its reads are multiples of the stride, so a flipped tile
    lies on the flipped image's own stride grid. Batches may have any aspect ratio.
    """

    def __init__(self, engine: Engine, spec: ModelSpec, augmentation: Augmentation) -> None:
        self.name, self.device, self.precision, self.reason = (
            engine.name,
            engine.device,
            engine.precision,
            engine.reason,
        )
        self._engine, self._made_of = engine, (spec, augmentation)
        self._symmetries = symmetries(spec)
        self._reduce = np.mean if augmentation is Augmentation.MEAN else np.median

    @property
    def free_memory_bytes(self) -> int | None:
        """The engine's, if it says."""
        return self._engine.free_memory_bytes

    def footprint(self, shape: tuple[int, ...]) -> float | None:
        """Return the bytes that the engine holds for each pixel; it runs one flip at a time."""
        return self._engine.footprint(shape)

    def trimmed(self, halo: tuple[int, int]) -> "AugmentedEngine | None":
        """Return this engine for tiles whose halo it cuts away inside; None when that gains nothing."""
        inner = self._engine.trimmed(halo) if halo[0] == halo[1] else None
        return None if inner is None else AugmentedEngine(inner, *self._made_of)

    def run(self, batch: Array, token: CancelToken | None = None) -> dict[str, Array]:
        """Return for every task its mean or median, and under ``<task>_uncertainty`` the standard deviation."""
        runs = [self._run(batch, symmetry, token) for symmetry in self._symmetries]
        outputs = {}
        for task in runs[0]:
            stack = np.stack([run[task] for run in runs])
            outputs[task] = self._reduce(stack, axis=0).astype(np.float32)
            outputs[task + UNCERTAINTY] = stack.std(axis=0)
        return outputs

    def _run(self, batch: Array, symmetry: tuple[int, bool], token: CancelToken | None) -> dict[str, Array]:
        outputs = self._engine.run(np.ascontiguousarray(turned(batch, symmetry)), token)
        return {task: turned_back(output, symmetry) for task, output in outputs.items()}


def augmented(engine: Engine, spec: ModelSpec, augmentation: Augmentation) -> tuple[Engine, ModelSpec]:
    """Return an engine with the step that `augmentation` asks for around it, and the spec with what that adds."""
    if augmentation is Augmentation.NONE:
        return engine, spec
    more = spec.model_copy(update={"outputs": (*spec.outputs, *uncertainties(spec))})
    return AugmentedEngine(engine, spec, augmentation), more


def symmetries(spec: ModelSpec) -> list[tuple[int, bool]]:
    """Return the symmetries of Y and X as (quarter turns, flipped); four when their strides or scales differ."""
    square = spec.stride[1] == spec.stride[2] and all(o.scale[1] == o.scale[2] for o in spec.outputs)
    return [(turns, flip) for flip in (False, True) for turns in (range(4) if square else (0, 2))]


def turned(array: Array, symmetry: tuple[int, bool]) -> Array:
    """Return an array with its last two axes flipped along X, then turned by quarters."""
    turns, flip = symmetry
    return np.rot90(array[..., ::-1] if flip else array, turns, axes=(-2, -1))


def turned_back(array: Array, symmetry: tuple[int, bool]) -> Array:
    """Return the array that `turned` made this of."""
    turns, flip = symmetry
    array = np.rot90(array, -turns, axes=(-2, -1))
    return array[..., ::-1] if flip else array


def uncertainties(spec: ModelSpec) -> tuple[OutputSpec, ...]:
    """Return the outputs that augmentation adds."""
    return tuple(output.model_copy(update={"task": output.task + UNCERTAINTY}) for output in spec.outputs)
