"""TIFF files of any writer, seen as (T, C, Z, Y, X): the header first, each plane when it is asked for."""

from napari_vstain.core.data.tiff.header import TiffHeader, read_header
from napari_vstain.core.data.tiff.planes import read_plane, read_planes

__all__ = ["TiffHeader", "read_header", "read_plane", "read_planes"]
