"""A TIFF is read plane by plane as it was written, or refused in one sentence: never in part."""

import tracemalloc

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.data.readers.tiff import read_header, read_plane, read_planes
from napari_vstain.core.errors import DatasetError

LAYOUTS = {
    "plain.ome.tif": {},
    "deflate.ome.tif": {"compression": "zlib"},
    "tiles.ome.tif": {"tile": (16, 32)},
    "compressed_tiles.ome.tif": {"tile": (16, 16), "compression": "zlib"},
    "strips.ome.tif": {"rowsperstrip": 7},
    "big.ome.tif": {"bigtiff": True},
    "motorola.ome.tif": {"byteorder": ">"},
    "imagej.tif": {"imagej": True},
    "imagej_deflate.tif": {"imagej": True, "compression": "zlib"},
}
layouts = st.sampled_from(sorted(LAYOUTS))
SHAPE = (3, 2, 2, 40, 52)
"""T, C, Z, Y, X."""


def image(dtype="uint16", shape=SHAPE):
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def written(folder, layout, pixels, axes="TCZYX"):
    """Return the path of a new file; ImageJ keeps (T, Z, C, Y, X)."""
    path, options = folder / layout, LAYOUTS[layout]
    if "imagej" in options:
        pixels, axes = pixels.transpose(0, 2, 1, 3, 4), "TZCYX"
    tifffile.imwrite(path, pixels, metadata={"axes": axes}, **options)
    return path


def planes_of(path):
    header = read_header(path)
    read = np.zeros(header.shape, header.dtype)
    for c in range(header.shape[1]):
        for t, z, plane in read_planes(header, c):
            read[t, c, z] = plane
    return read


@given(
    layout=layouts,
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    place=st.tuples(*map(st.integers, [0] * 3, [2, 1, 1])),
)
def test_every_plane_is_read_as_it_was_written(tmp_path_factory, layout, dtype, place):
    pixels = image(dtype)
    path = written(tmp_path_factory.mktemp("tiff"), layout, pixels)
    assert read_header(path).shape == SHAPE
    np.testing.assert_array_equal(planes_of(path), pixels)
    plane = read_plane(read_header(path), *place)
    np.testing.assert_array_equal(plane, pixels[place])
    assert plane.dtype == np.dtype(dtype)


@given(layout=layouts, part=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_short_is_refused_or_lacks_nothing(tmp_path_factory, layout, part):
    pixels = image()
    path = written(tmp_path_factory.mktemp("tiff"), layout, pixels)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    try:
        read = planes_of(path)
    except DatasetError:
        return
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_file_that_lacks_its_second_half_says_so(tmp_path, layout):
    path = written(tmp_path, layout, image())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"is cut short: it has .* bytes and speaks of .*; copy it again\."):
        read_header(path)


def test_an_imagej_stack_in_one_page_that_lacks_planes_says_so(tmp_path):
    path = tmp_path / "large.tif"  # how ImageJ writes more than 4 GB: one directory, all planes behind it
    tifffile.imwrite(path, image(shape=(6, 40, 52)), imagej=True, metadata={"axes": "ZYX"})
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        first, size = file.pages.first, file.series[0].dataoffset + file.series[0].nbytes
        at = first.offset + file.tiff.tagnosize + len(first.tags) * file.tiff.tagsize
    content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(planes_of(path)[0, 0], image(shape=(6, 40, 52)))
    path.write_bytes(content[: size - 1])
    with pytest.raises(DatasetError, match="has 1 of the 6 planes that it says it has; export those"):
        read_header(path)


def test_a_series_with_a_file_missing_says_how_many_planes_are_there(tmp_path):
    paths = [tmp_path / f"z{n}.ome.tif" for n in range(3)]
    names = "".join(
        f'<TiffData FirstZ="{n}" IFD="0" PlaneCount="1"><UUID FileName="{path.name}">urn:uuid:{n}</UUID></TiffData>'
        for n, path in enumerate(paths)
    )
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0"><Image>'
        '<Pixels DimensionOrder="XYZCT" Type="uint16" SizeX="52" SizeY="40" SizeZ="3" SizeC="1" SizeT="1">'
        f"{names}</Pixels></Image></OME>"
    )
    for n, path in enumerate(paths):
        tifffile.imwrite(path, image(shape=(40, 52)) + n, metadata=None, description=text)
    assert planes_of(paths[0]).shape == (1, 1, 3, 40, 52)
    paths[1].unlink()
    with pytest.raises(DatasetError, match="has 2 of the 3 planes that it says it has"):
        read_header(paths[0])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_that_share_a_page_are_told_apart(tmp_path, compression):
    pixels = image(shape=(20, 40, 52))
    tifffile.imwrite(tmp_path / "a.tif", pixels, volumetric=True, tile=(16, 16, 16), compression=compression)
    np.testing.assert_array_equal(planes_of(tmp_path / "a.tif")[0, 0], pixels)
    samples = image(shape=(40, 52, 3))
    options = {"photometric": "minisblack", "planarconfig": "contig", "compression": compression}
    tifffile.imwrite(tmp_path / "b.tif", samples, **options)
    np.testing.assert_array_equal(planes_of(tmp_path / "b.tif")[0, :, 0], np.moveaxis(samples, -1, 0))


@pytest.mark.parametrize(
    ("names", "kept"),
    [(("a", "b"), ("a", "b")), (("a", "a"), ("a 1", "a 2")), (("a", ""), ("a", "Channel 1")), (("", ""), ())],
)
def test_channel_names_are_told_apart(tmp_path, names, kept):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, image(shape=(2, 40, 52)), metadata={"axes": "CYX", "Channel": {"Name": list(names)}})
    assert read_header(path).channels == kept


def test_axes_without_names_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image(shape=(3, 2, 40, 52)))
    with pytest.raises(DatasetError, match="has the axes QQYX, which is unclear; state its axes at import"):
        read_header(tmp_path / "a.tif")


def test_a_file_that_changes_between_header_and_pixels_is_refused(tmp_path):
    path = written(tmp_path, "plain.ome.tif", image())
    header = read_header(path)
    written(tmp_path, "plain.ome.tif", image(shape=(2, *SHAPE[1:])))
    with pytest.raises(DatasetError, match="changed while it was imported"):
        next(read_planes(header, 0))


@pytest.mark.parametrize("layout", ["plain.ome.tif", "deflate.ome.tif", "imagej.tif", "tiles.ome.tif"])
def test_a_long_stack_is_never_in_memory_as_a_whole(tmp_path, layout):
    path = written(tmp_path, layout, image("uint8", (40, 1, 1, 512, 512)))
    header = read_header(path)
    tracemalloc.start()
    try:
        for _ in read_planes(header, 0):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * 512 * 512 / 3
