"""Intensities become what the network saw in training, and its outputs become the target's units again.

The numbers are those of the training dataset or of the whole image that is predicted, never of a tile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Array
from napari_vstain.core.errors import ChannelError, ModelError, NormalizationError
from napari_vstain.core.models.spec import ModelSpec, OutputKind, OutputSpec, Statistics


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) / divisor`` for each channel, and back; float64, each of shape (C,)."""

    offset: npt.NDArray[np.float64]
    divisor: npt.NDArray[np.float64]

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Scaling":
        """Return the scaling of channels given as ``(offset, divisor)``."""
        offset, divisor = np.asarray(pairs, np.float64).reshape(len(pairs), 2).T
        return cls(offset, divisor)

    def normalized(self, block: npt.NDArray[Any]) -> Array:
        """Return a (C, …) block as a new normalized float32 array.

        Pixels that float32 does not hold exactly, of 32 bits and more, are normalized in float64: an offset of 4e9
        leaves it no digits for what lies above.
        """
        precision = np.dtype(np.float32 if np.can_cast(block.dtype, np.float32) else np.float64)
        result: npt.NDArray[Any] = np.array(block, precision, order="C")
        result -= _along(self.offset.astype(precision), result.ndim)
        result /= _along(self.divisor.astype(precision), result.ndim)
        return result.astype(np.float32, copy=False)

    def restored(self, block: Array) -> Array:
        """Return a normalized (C, …) block in the channels' units, float32."""
        offset, divisor = self.offset.astype(np.float32), self.divisor.astype(np.float32)
        restored: Array = block * _along(divisor, block.ndim) + _along(offset, block.ndim)
        return restored


def source_scaling(spec: ModelSpec, statistics: Mapping[str, Statistics] | None = None) -> Scaling:
    """Return how a model's sources are normalized.

    Parameters
    ----------
    statistics : mapping, optional
        By source channel, of the whole image that is predicted; needed unless the model's level is ``dataset``.

    Raises
    ------
    ChannelError
        When a channel's statistics are missing.
    NormalizationError
        When the image that is predicted cannot be normalized by its own statistics; it names the channel.
    """
    normalization = spec.source_normalization
    if normalization.level == "dataset" or statistics is None:
        return Scaling.of([spec.source_offset_and_divisor(channel) for channel in spec.sources])
    for channel in spec.sources:
        if problem := normalization.problem(statistics[channel]):
            raise NormalizationError("channel", channel, problem, "choose an image with more in it, or another model")
    return Scaling.of([normalization.offset_and_divisor(statistics[channel]) for channel in spec.sources])


def target_scaling(spec: ModelSpec, output: OutputSpec) -> Scaling:
    """Return what brings an output into its targets' units; outputs that are no intensities stay as they are."""
    if output.kind is not OutputKind.FLUORESCENCE:
        return Scaling.of([(0.0, 1.0)] * len(output.channels))
    return Scaling.of([spec.target_offset_and_divisor(channel) for channel in output.channels])


def check_scaling(spec: ModelSpec) -> None:
    """Raise ModelError unless a model holds the numbers that it needs, before anything is made of an image."""
    try:
        if spec.source_normalization.level == "dataset":
            source_scaling(spec)
        for output in spec.outputs:
            target_scaling(spec, output)
    except ChannelError as error:  # the model's own channels: nothing that an image could have
        raise ModelError(error.field, error.value, error.rule, error.remedy) from error


def not_finite(block: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Return where any channel of a (C, …) block is NaN or infinite, without the channel axis; None if nowhere."""
    if not np.issubdtype(block.dtype, np.floating):
        return None
    bad: npt.NDArray[np.bool_] = ~np.isfinite(block).all(axis=0)
    return bad if bad.any() else None


def _along(values: npt.NDArray[Any], ndim: int) -> npt.NDArray[Any]:
    return values.reshape(-1, *(1,) * (ndim - 1))
