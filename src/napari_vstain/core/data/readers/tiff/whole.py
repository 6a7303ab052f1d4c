"""Whether a TIFF is there as a whole: tifffile shows what is left of one that was cut short as if it were all."""

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffFormat, TiffPageSeries

_WIDTH, _HEIGHT = 256, 257
_DESCRIPTIONS = (270, 50839)
"""Tags of bytes that say what the planes are: ImageDescription, and ImageJ's own."""


def check_directories(file: "TiffFile", path: Path) -> None:
    """Raise DatasetError when a file ends before the directories and descriptions that it speaks of."""
    _check_end(file, path, max(_ends_of_directories(file, path), default=0))


def check_planes(file: "TiffFile", series: "TiffPageSeries", path: Path) -> None:
    """Raise DatasetError when a file ends before the pixels of an image that it speaks of, or lacks planes of it."""
    page = series.keyframe
    if len(page.dataoffsets) < prod(page.chunked):  # decoding would go through all that are not there
        rule = f"has {len(page.dataoffsets)} of the {prod(page.chunked)} strips or tiles that its sizes ask for"
        raise DatasetError("file", path, rule, "copy it again")
    _check_end(file, path, max(_ends_of_pixels(file, series), default=0))
    there, said = _planes(file, series)
    if there < said:
        rule = f"has {there} of the {said} planes that it says it has"
        raise DatasetError("file", path, rule, "export those that are there again")


def _check_end(file: "TiffFile", path: Path, end: int) -> None:
    size = file.filehandle.size
    if end > size:
        raise DatasetError("file", path, f"is cut short: it has {size} bytes and speaks of {end}", "copy it again")


def _planes(file: "TiffFile", series: "TiffPageSeries") -> tuple[int, int]:
    """Return how many planes there are, and how many there should be."""
    lacking = sum(page is None for page in series.pages)
    if lacking:
        return len(series.pages) - lacking, len(series.pages)
    said = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej and series is file.series[0] else 1
    return prod(series.shape[:-2]), said


def _ends_of_pixels(file: "TiffFile", series: "TiffPageSeries") -> Iterator[int]:
    """Yield where the pixels of an image end, in bytes from the file's beginning."""
    for page in series.pages:
        if page is not None and page.parent is file:  # others lie in files of their own
            yield from (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if series.dataoffset is not None and series.parent is file:
        yield series.dataoffset + series.nbytes


def _ends_of_directories(file: "TiffFile", path: Path) -> Iterator[int]:
    """Yield how far each directory reaches: to the next one, and to what describes the image.

    The chain is followed here, with a few bytes read of each, before tifffile reads them all: where it was written
    over, it leads to one that is no directory, or around for ever.
    """
    form, handle = file.tiff, file.filehandle
    if form.is_ndpi:  # its offsets are not where the standard puts them
        return
    following, seen = file.pages.first.offset, set[int]()
    while following and following < handle.size:
        if following in seen:
            raise DatasetError("file", path, "is damaged: its directories lead around in a circle", "copy it again")
        seen.add(following)
        handle.seek(following)
        (count,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        entries = list(struct.iter_unpack(form.tagheaderformat, handle.read(count * form.tagsize)))
        if not {_WIDTH, _HEIGHT} <= {entry[0] for entry in entries}:
            raise DatasetError("file", path, "is damaged: a directory describes no image", "copy it again")
        (following,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        yield following + 1 if following else 0
        yield from (_end_of_text(form, size, value) for tag, _, size, value in entries if tag in _DESCRIPTIONS)


def _end_of_text(form: "TiffFormat", size: int, value: bytes) -> int:
    if size <= form.tagoffsetthreshold:
        return 0
    (start,) = struct.unpack(form.offsetformat, value)
    return int(start) + size
