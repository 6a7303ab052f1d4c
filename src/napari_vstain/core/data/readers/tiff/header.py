"""What a TIFF says of each of its images: sizes, channel names, and the size of a voxel."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.arrays import TCZYX, Spacing
from napari_vstain.core.data.channel_names import told_apart
from napari_vstain.core.data.lengths import length
from napari_vstain.core.data.readers.stated import AS_WRITTEN, Stated
from napari_vstain.core.data.readers.tiff.ome import OmeImage, images_of
from napari_vstain.core.data.readers.tiff.open_tiff import opened
from napari_vstain.core.data.readers.tiff.tiff_axes import sizes_of
from napari_vstain.core.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF says of one of its images."""

    path: Path
    shape: TCZYX
    """Sizes in pixels, (T, C, Z, Y, X)."""
    dtype: np.dtype[Any]
    """Of a pixel as it is read: 0 and 1, uint8, where the file has single bits."""
    channels: tuple[str, ...]
    """Channel names, each another, when the file gives any."""
    spacing_um: Spacing | None
    """Size of a voxel, (Z, Y, X), when the file gives it in a unit of length."""
    stated: Stated = AS_WRITTEN
    """What a person stated of the file."""
    image: int = 0
    """Which of the file's images it is."""
    name: str = ""
    """What the file calls the image."""
    first_plane: tuple[str, int] = ("", 0)
    """Path of the file that holds the image's first plane, and that plane's place in it: tells images apart."""
    pages_are_slices: bool = False
    """True when the file does not say what its pages are, so that they were taken for slices."""


def read_header(path: Path, stated: Stated = AS_WRITTEN) -> TiffHeader:
    """Return the header of the first image; see `read_headers`."""
    return read_headers(path, stated)[0]


def read_headers(path: Path, stated: Stated = AS_WRITTEN) -> list[TiffHeader]:
    """Return the header of every image that has planes in the file.

    Raises
    ------
    DatasetError
        When the file is no TIFF, is damaged or cut short, or holds a colour image.
    """
    with opened(path, stated) as images:
        file = images[0].parent
        said: list[OmeImage | None] = [None] * len(images)
        if images[0].kind == "ome" and file.ome_metadata:
            said = list(images_of(file.ome_metadata, path))
            if len(said) != len(images):
                rule = f"describes {len(said)} images, of which {len(images)} can be read"
                raise DatasetError("file", path, rule, "export them again")
        return [_header(path, stated, number, *one) for number, one in enumerate(zip(images, said, strict=True))]


def pixel_type(series: "TiffPageSeries", path: Path) -> np.dtype[Any]:
    """Return the type that pixels are read in.

    Raises
    ------
    DatasetError
        When they are no grey values.
    """
    dtype = series.dtype
    if dtype is None or dtype.kind not in "uifb":
        raise DatasetError("file", path, f"has pixels of type {dtype}", "convert it to grey values")
    return np.dtype(np.uint8) if dtype.kind == "b" else np.dtype(dtype.str)  # zarr knows one of two equal 64-bit types


def _header(path: Path, stated: Stated, number: int, series: "TiffPageSeries", said: OmeImage | None) -> TiffHeader:
    shape = sizes_of(series, path, stated)
    if not all(shape):
        raise DatasetError("file", path, f"is empty: it is {shape[4]} × {shape[3]} px", "leave it out")
    names: tuple[str, ...] = ()
    if said and any(said.channels) and len(said.channels) == shape[1]:
        names = told_apart(said.channels)
    spacing = said.spacing_um if said else _of_imagej(series.parent) if series.parent.is_imagej else None
    first = next(page for page in series.pages if page is not None)
    return TiffHeader(
        path=path,
        shape=shape,
        dtype=pixel_type(series, path),
        channels=names,
        spacing_um=spacing,
        stated=stated,
        image=number,
        name=said.name if said else "",
        first_plane=(str(Path(first.parent.filehandle.path).resolve()), first.index),
        pages_are_slices=not stated.axes and shape[2] > 1 and bool(set(series.axes) & set("IQ")),
    )


def _of_imagej(file: "TiffFile") -> Spacing | None:
    """Return the voxel size: each axis may have a unit of its own, and X's counts where it has none."""
    known = file.imagej_metadata or {}
    tags = {tag.name: tag.value for tag in file.pages.first.tags}
    y, x = (
        length(_inverse(tags.get(f"{axis}Resolution")), known.get(f"{axis.lower()}unit", known.get("unit")))
        for axis in "YX"
    )
    if y is None or x is None:
        return None
    return length(known.get("spacing"), known.get("zunit", known.get("unit"))), y, x


def _inverse(ratio: object) -> float | None:
    """Return the length of a pixel from the pixels in a length, a fraction."""
    above, below = ratio if isinstance(ratio, tuple) and len(ratio) == 2 else (0, 0)
    return below / above if above > 0 and below > 0 else None
