"""The shapes that a network takes and gives, as its ModelSpec says, for a try of a few milliseconds."""

import math

from napari_vstain.core.models.spec import Dimensions, Head, ModelSpec

_LEAST_PX = 64
"""Networks that halve an image four times still have some pixels to normalize over."""


def tried_shape(spec: ModelSpec) -> tuple[int, ...]:
    """Return the shape of a small input, (1, C, [Z,] Y, X), on the stride grid."""
    y, x = (max(math.ceil(_LEAST_PX / stride), 2) * stride for stride in spec.stride[1:])
    if spec.dimensions is Dimensions.TWO:
        return (1, len(spec.sources), y, x)
    stride = spec.stride[0] if spec.dimensions is Dimensions.THREE else 1
    least = max(spec.z_window, 8) if spec.dimensions is Dimensions.THREE else spec.z_window
    return (1, len(spec.sources), math.ceil(least / stride) * stride, y, x)


def output_shape(output: Head, taken: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an output, (B, C, [Z,] Y, X), for an input's; a projection keeps one slice."""
    batch, _, *sizes = taken
    scale = output.scale[-len(sizes) :]
    return (batch, len(output.channels), *(math.ceil(n * factor) or 1 for n, factor in zip(sizes, scale, strict=True)))
