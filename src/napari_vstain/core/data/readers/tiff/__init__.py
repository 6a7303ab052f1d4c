"""TIFF files of any writer, each image seen as (T, C, Z, Y, X): the header first, each plane when it is asked for."""

from napari_vstain.core.data.readers.tiff.header import TiffHeader, read_header, read_headers
from napari_vstain.core.data.readers.tiff.image import TiffImage, open_images
from napari_vstain.core.data.readers.tiff.planes import read_plane, read_planes

__all__ = ["TiffHeader", "TiffImage", "open_images", "read_header", "read_headers", "read_plane", "read_planes"]
