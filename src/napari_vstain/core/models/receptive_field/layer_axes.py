"""One axis of a layer: which pixels of its input a pixel of its output reads. Knows no framework."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Protocol


class Layer(Protocol):
    """One axis of a layer: the input indices ``first(i)..last(i)`` that output index i reads."""

    @property
    def scale(self) -> Fraction:
        """Input pixels per output pixel."""
        ...

    def first(self, index: int) -> int: ...

    def last(self, index: int) -> int: ...


@dataclass(frozen=True)
class Pointwise:
    """A layer that reads the pixel it writes, or the one `shift` pixels before it: padded; cut, when negative."""

    shift: int = 0

    @property
    def scale(self) -> Fraction:
        """One."""
        return Fraction(1)

    def first(self, index: int) -> int:
        return index - self.shift

    last = first


@dataclass(frozen=True)
class Window:
    """A convolution or a pooling."""

    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def scale(self) -> Fraction:
        """Its stride."""
        return Fraction(self.stride)

    @property
    def reach(self) -> int:
        """From the first to the last pixel of the window."""
        return self.dilation * (self.kernel - 1)

    def first(self, index: int) -> int:
        return index * self.stride - self.padding

    def last(self, index: int) -> int:
        return index * self.stride - self.padding + self.reach


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution: input j writes outputs ``j * stride - padding`` and `reach` beyond."""

    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def scale(self) -> Fraction:
        """One over its stride."""
        return Fraction(1, self.stride)

    @property
    def reach(self) -> int:
        """From the first to the last pixel of the window."""
        return self.dilation * (self.kernel - 1)

    def first(self, index: int) -> int:
        return -((self.reach - self.padding - index) // self.stride)

    def last(self, index: int) -> int:
        return (index + self.padding) // self.stride


@dataclass(frozen=True)
class Nearest:
    """Nearest-neighbour upsampling by a whole factor."""

    factor: int

    @property
    def scale(self) -> Fraction:
        """One over the factor."""
        return Fraction(1, self.factor)

    def first(self, index: int) -> int:
        return index // self.factor

    last = first


@dataclass(frozen=True)
class Linear:
    """Linear upsampling by a whole factor, pixel centres aligned (``align_corners=False``)."""

    factor: int

    @property
    def scale(self) -> Fraction:
        """One over the factor."""
        return Fraction(1, self.factor)

    def first(self, index: int) -> int:
        return floor((index + Fraction(1, 2)) * self.scale - Fraction(1, 2))

    def last(self, index: int) -> int:
        return self.first(index) + 1


@dataclass(frozen=True)
class Sampled:
    """Interpolation at ``(i + centre) * scale - centre``, from what lies within `support` input pixels of it."""

    scale: Fraction
    centre: Fraction = Fraction(1, 2)
    """One half where pixel centres are aligned, 0 where first pixels are."""
    support: Fraction = Fraction(1)

    def first(self, index: int) -> int:
        return ceil(self._at(index) - self.support)

    def last(self, index: int) -> int:
        return floor(self._at(index) + self.support)

    def _at(self, index: int) -> Fraction:
        return (index + self.centre) * self.scale - self.centre
