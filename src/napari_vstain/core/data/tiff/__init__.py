"""TIFF files of any writer, each image seen as (T, C, Z, Y, X): the header first, each plane when it is asked for."""

from napari_vstain.core.data.tiff.header import TiffHeader, read_header, read_headers
from napari_vstain.core.data.tiff.planes import read_plane, read_planes
from napari_vstain.core.data.tiff.tiff_axes import Stated

__all__ = ["Stated", "TiffHeader", "read_header", "read_headers", "read_plane", "read_planes"]
