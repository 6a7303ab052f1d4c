"""A TIFF is opened as what it says it is, and whatever goes wrong in it is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.data.readers.stated import Stated
from napari_vstain.core.data.readers.tiff.ome import own_description
from napari_vstain.core.data.readers.tiff.whole import check_directories, check_planes
from napari_vstain.core.errors import DatasetError, DependencyError
from napari_vstain.core.files import reading
from napari_vstain.core.process_tweaks import quiet_tiff

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_REMEDY = "check the file, or narrow the pattern so that it is left out"


@contextmanager
def opened(path: Path, stated: Stated) -> "Iterator[list[TiffPageSeries]]":
    """Yield the images of a file that is there as a whole: those that have planes in it, in the file's order.

    Raises
    ------
    DatasetError
        When the file is no TIFF, is damaged, or lacks planes.
    DependencyError
        When it is compressed in a way that needs another package.
    """
    from tifffile import TiffFile

    with quiet_tiff(), understood(path):
        with TiffFile(path) as file:
            if not file.pages:
                raise DatasetError("file", path, "holds no image", _REMEDY)
            check_directories(file, path)
            description = own_description(file.ome_metadata or "", path) if file.is_ome and not stated.axes else None
        flags = {"is_ome": False, "is_mmstack": False} if stated.axes and file.is_ome else {}
        if description is not None:
            flags = {"is_mmstack": False}
        with TiffFile(path, omexml=description, **flags) as file:
            images = _images(file, path)
            for series in images:
                check_planes(file, series, path)
            yield images


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn whatever a file provokes in tifffile and its codecs into one sentence."""
    try:
        with reading("file", path, "is no TIFF that can be read", _REMEDY):
            yield
    except DatasetError as error:
        if error.__cause__ is not None and "imagecodecs" in str(error.__cause__):
            rule = "is compressed in a way that needs the package imagecodecs"
            raise DependencyError("file", path, rule, "run `pip install imagecodecs`") from error
        raise


def _images(file: "TiffFile", path: Path) -> "list[TiffPageSeries]":
    """Return the series that are images, not smaller copies of one, such as thumbnails."""
    found = file.series
    if file.is_ome and found and found[0].kind not in ("ome", "imagej") and len(file.pages) > 1:
        rule = "has an OME description that does not fit its pixels"
        raise DatasetError("file", path, rule, "state its axes (`axes`), or export it again")
    images = [series for series in found if not series.keyframe.is_reduced]
    return images or found[:1]
