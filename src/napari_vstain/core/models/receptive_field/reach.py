"""How far layers look along one axis: intervals of pixels are followed from the outputs back to the image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm

from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.layer_axes import Layer


@dataclass(frozen=True)
class LayerStep:
    """One layer, along one axis: the value that it makes, and those that it makes it of."""

    made: str
    read: tuple[str, ...]
    layer: Layer
    surplus: Fraction = Fraction(0)
    """Pixels of the value beyond its share of the image: its length is ``image length / scale + surplus``."""


def scales(source: str, steps: Iterable[LayerStep]) -> dict[str, Fraction]:
    """Return, for each value, how many input pixels one of its pixels is.

    Raises
    ------
    UnknownLayer
        When a layer joins images of different scales.
    """
    known = {source: Fraction(1)}
    for step in steps:
        before = {known[name] for name in step.read}
        if len(before) > 1:
            raise UnknownLayer(f"{step.made} joins images of different sizes")
        known[step.made] = before.pop() * step.layer.scale
    return known


def radius_and_stride(
    source: str, steps: Sequence[LayerStep], outputs: Iterable[str], remainder: int = 0
) -> tuple[int, int]:
    """Return how far the outputs look on one side, over every phase of the total stride, and that stride; in pixels.

    Where a value is longer or shorter than its share of the image, a tile ends where the whole does not, although
    the pixels behind that end are there: then the radius counts how far a tile must go on so that the end is of no
    matter. `remainder` is what image and tiles are longer than a multiple of the stride.
    """
    pixels = scales(source, steps)
    stride = lcm(*(scale.numerator for scale in pixels.values()))
    surplus = {step.made: step.surplus for step in steps} | {source: Fraction(0)}
    radius = 0
    for output in outputs:
        phases = range(floor(stride / pixels[output]))
        for index in phases:
            here = floor(index * pixels[output])
            intervals = _read_by(steps, output, index)
            first, last = intervals.get(source, (here, here))
            radius = max(radius, here - first, last - here)
            if index == phases[0]:
                radius = max(radius, *(ceil(-pixels[name] * first) for name, (first, _) in intervals.items()))
            if index == phases[-1]:
                radius = max(
                    radius,
                    *(
                        ceil(pixels[name] * (last + 1 - surplus[name])) - stride - remainder
                        for name, (_, last) in intervals.items()
                    ),
                )
    return radius, stride


def _read_by(steps: Sequence[LayerStep], output: str, index: int) -> dict[str, tuple[int, int]]:
    """Return the first and last pixel of every value that pixel `index` of an output depends on."""
    intervals = {output: (index, index)}
    for step in reversed(steps):
        if step.made not in intervals:
            continue
        first, last = intervals[step.made]
        read = step.layer.first(first), step.layer.last(last)
        for name in step.read:
            known = intervals.get(name, read)
            intervals[name] = min(known[0], read[0]), max(known[1], read[1])
    return intervals
