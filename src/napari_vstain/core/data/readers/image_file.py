"""One image of a file is read alike in every format: sizes and names first, each plane when it is asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_vstain.core.arrays import TCZYX, Image, Spacing


class ImageFile(Protocol):
    """One image (scene) of a file. The file is open only while planes are read."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def name(self) -> str:
        """What the file calls the image; empty when it does not say."""

    @property
    def shape(self) -> TCZYX:
        """Sizes in pixels, (T, C, Z, Y, X)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a pixel as it is read."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names, each another, when the file gives any."""

    @property
    def spacing_um(self) -> Spacing | None:
        """Size of a voxel, (Z, Y, X), when the file gives it in a unit of length."""

    @property
    def first_plane(self) -> tuple[str, int]:
        """Path of the file that holds the image's first plane, and that plane's place in it: tells images apart."""

    @property
    def pages_are_slices(self) -> bool:
        """True when the file does not say what its pages are, so that they were taken for slices."""

    def plane(self, t: int, c: int, z: int) -> Image:
        """Return one plane, (Y, X); raises as `planes` does."""

    def planes(self, c: int) -> Iterator[tuple[int, int, Image]]:
        """Yield (t, z, plane) of a channel, T slowest; the file is opened once, which `plane` does each time.

        Raises
        ------
        DatasetError
            When the file is damaged, or is not as it was when it was opened.
        """
