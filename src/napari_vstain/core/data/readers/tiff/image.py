"""An image of a TIFF as an ImageFile: what its header says, and its planes."""

from collections.abc import Iterator
from pathlib import Path

from napari_vstain.core.arrays import Image
from napari_vstain.core.data.readers.stated import AS_WRITTEN, Stated
from napari_vstain.core.data.readers.tiff.header import TiffHeader, read_headers
from napari_vstain.core.data.readers.tiff.planes import read_plane, read_planes


class TiffImage(TiffHeader):
    """One image of a TIFF."""

    def plane(self, t: int, c: int, z: int) -> Image:
        """Return one plane, (Y, X); see `read_planes` for what it raises."""
        return read_plane(self, t, c, z)

    def planes(self, c: int) -> Iterator[tuple[int, int, Image]]:
        """Yield (t, z, plane) of a channel, T slowest; see `read_planes`."""
        return read_planes(self, c)


def open_images(path: Path, stated: Stated = AS_WRITTEN) -> list[TiffImage]:
    """Return every image that has planes in the file; see `read_headers` for what it raises."""
    return [TiffImage(**vars(header)) for header in read_headers(path, stated)]
