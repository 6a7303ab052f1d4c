"""Intensities become what the network saw in training, and its outputs become the target's units again.

The numbers are those of the training dataset or of the whole image that is predicted, never of a tile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.inference.engines.base import Array
from napari_vstain.core.models.spec import ModelSpec, OutputKind, OutputSpec, Statistics


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) / divisor`` for each channel, and back; float32, each of shape (C,)."""

    offset: Array
    divisor: Array

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Scaling":
        """Return the scaling of channels given as ``(offset, divisor)``."""
        offset, divisor = np.asarray(pairs, np.float32).reshape(len(pairs), 2).T
        return cls(offset, divisor)

    def normalized(self, block: npt.NDArray[Any]) -> Array:
        """Return a (C, …) block as a new normalized float32 array."""
        result = np.array(block, np.float32, order="C")
        result -= _along(self.offset, result.ndim)
        result /= _along(self.divisor, result.ndim)
        return result

    def restored(self, block: Array) -> Array:
        """Return a normalized (C, …) block in the channels' units."""
        return block * _along(self.divisor, block.ndim) + _along(self.offset, block.ndim)


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
    """
    normalization = spec.source_normalization
    if normalization.level == "dataset" or statistics is None:
        return Scaling.of([spec.source_offset_and_divisor(channel) for channel in spec.sources])
    return Scaling.of([normalization.offset_and_divisor(statistics[channel]) for channel in spec.sources])


def target_scaling(spec: ModelSpec, output: OutputSpec) -> Scaling:
    """Return what brings an output into its targets' units; outputs that are no intensities stay as they are."""
    if output.kind is not OutputKind.FLUORESCENCE:
        return Scaling.of([(0.0, 1.0)] * len(output.channels))
    return Scaling.of([spec.target_offset_and_divisor(channel) for channel in output.channels])


def not_finite(block: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Return where any channel of a (C, …) block is NaN or infinite, without the channel axis; None if nowhere."""
    if not np.issubdtype(block.dtype, np.floating):
        return None
    bad: npt.NDArray[np.bool_] = ~np.isfinite(block).all(axis=0)
    return bad if bad.any() else None


def _along(values: Array, ndim: int) -> Array:
    return values.reshape(-1, *(1,) * (ndim - 1))
