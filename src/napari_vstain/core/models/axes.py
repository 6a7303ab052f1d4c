"""One axis of a layer: which pixels of its input a pixel of its output reads. Knows no framework."""

from fractions import Fraction
from math import floor
from typing import Protocol


class Layer(Protocol):
    """One axis of a layer: the input indices ``first(i)..last(i)`` that output index i reads."""

    @property
    def scale(self) -> Fraction:
        """Input pixels per output pixel."""
        ...

    def first(self, index: int) -> int: ...

    def last(self, index: int) -> int: ...


class Pointwise:
    """A layer that reads the pixel it writes."""

    scale = Fraction(1)

    def first(self, index: int) -> int:
        return index

    last = first


class Window:
    """A convolution or a pooling."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> None:
        self.scale = Fraction(stride)
        self.stride, self.padding, self.reach = stride, padding, dilation * (kernel - 1)

    def first(self, index: int) -> int:
        return index * self.stride - self.padding

    def last(self, index: int) -> int:
        return index * self.stride - self.padding + self.reach


class Transposed:
    """A transposed convolution: input j writes outputs ``j * stride - padding`` and `reach` beyond."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> None:
        self.scale = Fraction(1, stride)
        self.stride, self.padding, self.reach = stride, padding, dilation * (kernel - 1)

    def first(self, index: int) -> int:
        return -((self.reach - self.padding - index) // self.stride)

    def last(self, index: int) -> int:
        return (index + self.padding) // self.stride


class Nearest:
    """Nearest-neighbour upsampling by a whole factor."""

    def __init__(self, factor: int) -> None:
        self.scale = Fraction(1, factor)
        self.factor = factor

    def first(self, index: int) -> int:
        return index // self.factor

    last = first


class Linear:
    """Linear upsampling by a whole factor, pixel centres aligned (``align_corners=False``)."""

    def __init__(self, factor: int) -> None:
        self.scale = Fraction(1, factor)

    def first(self, index: int) -> int:
        return floor((index + Fraction(1, 2)) * self.scale - Fraction(1, 2))

    def last(self, index: int) -> int:
        return self.first(index) + 1
