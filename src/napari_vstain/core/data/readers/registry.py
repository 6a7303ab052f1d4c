"""Which reader opens a file: the one that names its suffix."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.data.readers.image_file import ImageFile
from napari_vstain.core.data.readers.stated import AS_WRITTEN, Stated
from napari_vstain.core.data.readers.tiff import open_images as open_tiff


@dataclass(frozen=True)
class Reader:
    """How files of one format are opened."""

    suffixes: tuple[str, ...]
    """What their names end with, in small letters; all mean the same, so a pattern that ends with one finds all."""
    open: Callable[[Path, Stated], Sequence[ImageFile]]
    """Returns the images that have planes in a file, in its order."""


TIFF = Reader((".tif", ".tiff"), open_tiff)
READERS: Mapping[str, Reader] = {suffix: reader for reader in (TIFF,) for suffix in reader.suffixes}
"""By suffix, in small letters."""


def open_image_file(path: Path, stated: Stated = AS_WRITTEN) -> Sequence[ImageFile]:
    """Return every image that has planes in a file.

    A suffix that no reader names is tried as TIFF: that has many others (.lsm, .stk, .ndpi).

    Raises
    ------
    DatasetError
        When the file is no image of its format, is damaged or cut short, or holds a colour image.
    """
    return READERS.get(path.suffix.lower(), TIFF).open(path, stated)


def suffixes_like(name: str) -> tuple[str, ...]:
    """Return the suffixes that mean what the end of `name` does, itself among them; none when no reader names it."""
    reader = READERS.get(Path(name).suffix.lower())
    return reader.suffixes if reader else ()
