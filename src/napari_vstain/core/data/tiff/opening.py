"""What is no TIFF that can be read is said at the door."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.data.tiff.whole import check_whole
from napari_vstain.core.errors import DatasetError, DependencyError

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

_DAMAGED = (OSError, ValueError, RuntimeError, TypeError, IndexError, KeyError, EOFError, struct.error, zlib.error)
"""What tifffile and its codecs raise for a file that is no TIFF, or is damaged."""


@contextmanager
def opened(path: Path) -> "Iterator[TiffPageSeries]":
    """Yield the first image series of a file that is there as a whole.

    Raises
    ------
    DatasetError
        When the file is no TIFF, is damaged, or lacks planes.
    DependencyError
        When it is compressed in a way that needs another package.
    """
    from tifffile import TiffFile

    try:
        with TiffFile(path) as file:
            if not file.pages:
                raise ValueError("it holds no image")
            check_whole(file, path)
            yield file.series[0]
    except DatasetError:
        raise
    except _DAMAGED as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if "imagecodecs" in text:
            rule = "is compressed in a way that needs the package imagecodecs"
            raise DependencyError("file", path, rule, "run `pip install imagecodecs`") from error
        rule = f"is no TIFF that can be read ({text.removeprefix('<tifffile.TiffFile> ')})"
        remedy = "check the file, or narrow the pattern so that it is left out"
        raise DatasetError("file", path, rule, remedy) from error
