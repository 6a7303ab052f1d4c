"""How an ONNX convolution, pooling or interpolation lies along one axis, at the sizes that it was seen at."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.layer_axes import Layer, Pointwise, Sampled, Transposed, Window

NodeAttributes = Mapping[str, Any]
"""Of a node, as plain values."""
_SUPPORT = {"nearest": Fraction(1), "linear": Fraction(1), "cubic": Fraction(2)}


def window(attributes: NodeAttributes, kernel: tuple[int, ...], place: int, before: int, after: int) -> Layer:
    """Return one axis of a convolution or a pooling.

    Parameters
    ----------
    kernel : tuple of int
        Its size, (Z, Y, X) or (Y, X).
    place : int
        Which of these axes.
    before, after : int
        Lengths of what it takes and of what it gives, in pixels.
    """
    size, stride, dilation = (values[place] for values in (kernel, *_steps(attributes, len(kernel))))
    reach = dilation * (size - 1)
    padding = _padding(attributes, kernel, place, (after - 1) * stride + reach + 1 - before)
    return Window(size, stride, padding, dilation)


def transposed(attributes: NodeAttributes, kernel: tuple[int, ...], place: int, before: int, after: int) -> Layer:
    """Return one axis of a transposed convolution; the arguments are those of `window`."""
    size, stride, dilation = (values[place] for values in (kernel, *_steps(attributes, len(kernel))))
    more = attributes.get("output_padding", [0] * len(kernel))[place]
    total = stride * (before - 1) + more + dilation * (size - 1) + 1 - after
    if attributes.get("output_shape") and attributes.get("auto_pad", b"NOTSET") != b"SAME_UPPER":
        padding = total - total // 2
    elif attributes.get("output_shape"):
        padding = total // 2
    else:
        padding = _padding(attributes, kernel, place, total)
    return Transposed(size, stride, padding, dilation)


def interpolation(attributes: NodeAttributes, scale: float | None, before: int, after: int) -> Layer:
    """Return one axis of an interpolation.

    Parameters
    ----------
    scale : float, optional
        Output pixels per input pixel, where the node names it; else it follows from the lengths.

    Raises
    ------
    UnknownLayer
        When where it samples depends on the size of the image.
    """
    mode = _text(attributes, "mode", "nearest")
    centres = _text(attributes, "coordinate_transformation_mode", "half_pixel")
    factor = Fraction(after, before) if scale is None else Fraction(scale).limit_denominator(4096)
    if factor == 1 and before == after:
        return Pointwise()
    if centres not in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric"):
        raise UnknownLayer(f"Resize {centres}")
    if scale is not None and factor != Fraction(after, before) and centres == "half_pixel_symmetric":
        raise UnknownLayer(f"Resize {centres}")
    if mode not in _SUPPORT:
        raise UnknownLayer(f"Resize {mode}")
    if Fraction(float(np.float32(factor))) != factor:  # the places that it samples drift with the image's size
        raise UnknownLayer(f"Resize by {factor}")
    support = _SUPPORT[mode]
    centre = Fraction(0) if centres == "asymmetric" else Fraction(1, 2)
    if mode == "nearest":
        return _nearest(_text(attributes, "nearest_mode", "round_prefer_floor"), 1 / factor, centre)
    smoothed = attributes.get("antialias", 0) and factor < 1
    return Sampled(1 / factor, centre, support / factor if smoothed else support)


class _Floored(Sampled):
    """Nearest-neighbour interpolation that takes the pixel before the place."""

    def first(self, index: int) -> int:
        return int(self._at(index) // 1)

    last = first


def _nearest(rounding: str, scale: Fraction, centre: Fraction) -> Layer:
    if rounding == "floor" and centre == 0:
        return _Floored(scale, centre, Fraction(0))
    # Rounded to either side: the half pixel is the bound, whichever of two equal neighbours is taken.
    return Sampled(scale, centre, Fraction(1, 2) if rounding.startswith("round") else Fraction(1))


def _steps(attributes: NodeAttributes, rank: int) -> tuple[list[int], list[int]]:
    ones = [1] * rank
    return list(attributes.get("strides") or ones), list(attributes.get("dilations") or ones)


def _padding(attributes: NodeAttributes, kernel: tuple[int, ...], place: int, total: int) -> int:
    """Return the padding in front; `total` is what a rule pads in all."""
    rule = attributes.get("auto_pad", b"NOTSET")
    if rule == b"VALID":
        return 0
    if rule in (b"SAME_UPPER", b"SAME_LOWER"):
        total = max(total, 0)
        return total // 2 if rule == b"SAME_UPPER" else total - total // 2
    return int((attributes.get("pads") or [0] * 2 * len(kernel))[place])


def _text(attributes: NodeAttributes, name: str, default: str) -> str:
    value = attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def kernel_of(attributes: NodeAttributes, weights: np.ndarray[Any, Any] | None) -> tuple[int, ...]:
    """Return the size of a convolution or a pooling, from its weights where the node leaves it out."""
    given = attributes.get("kernel_shape")
    if given:
        return tuple(given)
    if weights is None:
        raise UnknownLayer("a kernel of unknown size")
    return tuple(weights.shape[2:])
