"""What is written can be opened, by us and by others; what others wrote can be opened by us."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.data import DatasetKind, create_plate, open_dataset
from napari_vstain.core.errors import ChannelError, DatasetError

VERSIONS = ("0.4", "0.5")
names = st.text("ABCdef 0123µ-_", min_size=1, max_size=8).filter(str.strip)  # blank names are replaced on reading
lengths = st.floats(1e-3, 1e3)


@st.composite
def plates(draw):
    channels = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    part = st.text("ABC012", min_size=1, max_size=2)
    keys = draw(st.lists(st.tuples(part, part, part).map("/".join), min_size=1, max_size=3, unique_by=str.lower))
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]))
    sizes = st.tuples(*(st.integers(1, 3) for _ in range(2)), st.integers(1, 20), st.integers(1, 20))
    positions = {}
    for key in keys:
        t, z, y, x = draw(sizes)
        spacing = draw(st.none() | st.tuples(lengths, lengths, lengths))
        translation = draw(st.tuples(lengths, lengths, lengths)) if spacing else (0.0, 0.0, 0.0)
        seed = draw(st.integers(0, 99))
        pixels = (np.random.default_rng(seed).random((t, len(channels), z, y, x)) * 200).astype(dtype)
        positions[key] = (pixels, spacing, translation)
    return tuple(channels), positions


def write(path, channels, positions, version):
    with create_plate(path, channels, version=version) as plate:
        for key, (pixels, spacing, translation) in positions.items():
            plate.add_position(key, pixels.shape, pixels.dtype, spacing, translation)[:] = pixels
    return path


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    def make(name="plate.zarr"):
        return tmp_path_factory.mktemp("data") / name

    return make


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=20)
@given(plate=plates())
def test_write_then_open_is_the_identity(fresh, version, plate):
    channels, positions = plate
    dataset = open_dataset(write(fresh(), channels, positions, version))
    assert dataset.kind is DatasetKind.PLATE
    assert dataset.channels == channels
    assert sorted(dataset.positions) == sorted(positions)
    for key, (pixels, spacing, translation) in positions.items():
        position = dataset.position(key)
        assert (position.shape, position.dtype, position.spacing_um) == (pixels.shape, pixels.dtype, spacing)
        assert position.translation_um == translation
        np.testing.assert_array_equal(position.image().compute(scheduler="sync"), pixels)
        np.testing.assert_array_equal(position.read(channels[::-1], t=pixels.shape[0] - 1), pixels[-1, ::-1])


@settings(max_examples=30)
@given(
    starts=st.tuples(*(st.integers(0, 6) for _ in range(3))),
    sizes=st.tuples(*(st.integers(1, 8) for _ in range(3))),
    order=st.permutations(["a", "b", "c"]).flatmap(lambda p: st.integers(1, 3).map(lambda n: p[:n])),
)
def test_a_region_read_is_the_same_region_of_the_whole(fresh, starts, sizes, order):
    pixels = np.arange(2 * 3 * 5 * 7 * 6, dtype="uint16").reshape(2, 3, 5, 7, 6)
    path = fresh()
    with create_plate(path, ["a", "b", "c"]) as plate:
        plate.add_position("A/1/0", pixels.shape, pixels.dtype, chunks=(1, 1, 2, 4, 4))[:] = pixels
    z, y, x = (slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
    found = open_dataset(path).position("A/1/0").read(order, t=1, z=z, y=y, x=x)
    np.testing.assert_array_equal(found, pixels[1][["abc".index(name) for name in order], z, y, x])


def indices(size):
    inside = st.integers(0, size - 1)
    lists = st.lists(inside, min_size=1, max_size=3)
    slices = st.tuples(inside, inside, st.sampled_from([1, 2, -1])).map(lambda s: slice(*s))
    return st.tuples(st.sampled_from("isl"), inside, slices, lists).map(lambda c: c[1 + "isl".index(c[0])])


@settings(max_examples=60)
@given(index=st.tuples(*map(indices, (2, 3, 5, 7, 6))).filter(lambda i: sum(isinstance(p, list) for p in i) < 2))
def test_a_lazy_image_takes_any_index_that_numpy_takes(fresh, index):
    pixels = np.arange(2 * 3 * 5 * 7 * 6, dtype="uint16").reshape(2, 3, 5, 7, 6)
    path = fresh()
    with create_plate(path, ["a", "b", "c"]) as plate:
        plate.add_position("A/1/0", pixels.shape, pixels.dtype, chunks=(1, 1, 2, 4, 4))[:] = pixels
    lazy, expected = open_dataset(path).position("A/1/0").image(), pixels
    for axis in reversed(range(5)):  # one axis at a time: numpy moves axes when lists and numbers meet
        place = (slice(None),) * axis + (index[axis],)
        lazy, expected = lazy[place], expected[place]
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_iohub_reads_what_we_write_without_a_complaint(tmp_path, version, caplog):
    from iohub import open_ome_zarr

    pixels = np.arange(2 * 2 * 3 * 40 * 50, dtype="uint16").reshape(2, 2, 3, 40, 50)
    positions = dict.fromkeys(("A/1/0", "A/1/1", "B/03/0"), (pixels, (2.0, 0.5, 0.25), (0.0, 10.0, 20.0)))
    write(tmp_path / "plate.zarr", ("Phase", "GFP"), positions, version)
    with caplog.at_level(logging.WARNING), open_ome_zarr(tmp_path / "plate.zarr") as plate:
        assert plate.version == version
        assert [key for key, _ in plate.positions()] == list(positions)
        for _, position in plate.positions():
            assert position.channel_names == ["Phase", "GFP"]
            assert position.scale == [1.0, 1.0, 2.0, 0.5, 0.25]
            assert position.get_effective_translation("0") == [0.0, 0.0, 0.0, 10.0, 20.0]
            assert [axis.unit for axis in position.axes[2:]] == ["micrometer"] * 3
            np.testing.assert_array_equal(position["0"][:], pixels)
    assert not caplog.records


@pytest.mark.parametrize("version", VERSIONS)
def test_ome_zarr_reads_what_we_write(tmp_path, version):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    pixels = np.arange(2 * 30 * 20, dtype="uint16").reshape(1, 2, 1, 30, 20)
    write(tmp_path / "plate.zarr", ("Phase", "GFP"), {"A/1/0": (pixels, (1.0, 0.5, 0.25), (0, 0, 0))}, version)
    nodes = list(Reader(parse_url(tmp_path / "plate.zarr" / "A" / "1" / "0"))())
    np.testing.assert_array_equal(np.asarray(nodes[0].data[0]), pixels)
    assert nodes[0].metadata["channel_names"] == ["Phase", "GFP"]
    plate = next(iter(Reader(parse_url(tmp_path / "plate.zarr"))()))
    assert {"row_names", "col_names"} <= set(plate.metadata) or plate.specs


@pytest.mark.parametrize("version", VERSIONS)
def test_what_iohub_writes_opens(tmp_path, version):
    from iohub import open_ome_zarr
    from iohub.ngff.models import TransformationMeta

    pixels = np.random.default_rng(0).random((1, 2, 3, 8, 9)).astype("float32")
    with open_ome_zarr(
        tmp_path / "p.zarr", layout="hcs", mode="w", channel_names=["Phase", "DAPI"], version=version
    ) as plate:
        scale = TransformationMeta(type="scale", scale=[1, 1, 2, 0.5, 0.5])
        plate.create_position("B", "03", "0").create_image("0", pixels, transform=[scale])
    position = open_dataset(tmp_path / "p.zarr").position("B/03/0")
    assert (position.channels, position.spacing_um) == (("Phase", "DAPI"), (2.0, 0.5, 0.5))
    np.testing.assert_array_equal(position.read(["DAPI"])[0], pixels[0, 1])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_lists_a_position_only_when_it_is_complete(tmp_path, version, monkeypatch):
    path = write(tmp_path / "p.zarr", ("a",), {"A/1/0": (np.ones((1, 1, 1, 4, 4), "u1"), None, (0, 0, 0))}, version)
    plate = create_plate(path, ["a"], existing="extend")
    monkeypatch.setattr(plate, "_list", lambda new, keys: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        plate.add_position("B/1/0", (1, 1, 1, 4, 4), "u1")
    assert list(open_dataset(path).positions) == ["A/1/0"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plate_is_extended_refused_or_replaced(tmp_path, version):
    one = {"A/1/0": (np.full((1, 1, 1, 4, 4), 7, "u1"), None, (0, 0, 0))}
    path = write(tmp_path / "p.zarr", ("a",), one, version)
    with pytest.raises(DatasetError, match="is there already"):
        create_plate(path, ["a"])
    with create_plate(path, ["a"], existing="extend") as plate:
        plate.add_position("A/1/1", (1, 1, 1, 4, 4), "u1")
        assert plate.version == version
        assert plate.add_position("A/1/0", (1, 1, 1, 4, 4), "u1")[0, 0, 0, 0, 0] == 7
        with pytest.raises(DatasetError, match="is there with shape"):
            plate.add_position("A/1/0", (1, 1, 1, 5, 4), "u1")
    assert list(open_dataset(path).positions) == ["A/1/0", "A/1/1"]
    with pytest.raises(DatasetError, match="has the channels a, not b"):
        create_plate(path, ["b"], existing="extend")
    with create_plate(path, ["b"], version=version, existing="replace") as plate:
        plate.add_position("C/1/0", (1, 1, 1, 4, 4), "u1")
    assert list(open_dataset(path).positions) == ["C/1/0"]


def test_nothing_but_a_plate_is_ever_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(DatasetError, match=r"no OME-Zarr|something else"):
        create_plate(tmp_path / "thesis", ["a"], existing="replace")
    assert (tmp_path / "thesis" / "chapter1.txt").exists()


@pytest.mark.parametrize("key", ["A/1", "A/1/0/0", "A//0", "../1/0", "A/./0", ""])
def test_keys_that_leave_the_plate_are_refused(tmp_path, key):
    with create_plate(tmp_path / "p.zarr", ["a"]) as plate, pytest.raises(DatasetError, match="row/column/field"):
        plate.add_position(key, (1, 1, 1, 4, 4), "u1")


def test_opening_and_browsing_a_plate_loads_neither_zarr_nor_dask_nor_iohub(tmp_path):
    path = write(tmp_path / "p.zarr", ("a",), {"A/1/0": (np.ones((1, 1, 1, 4, 4), "u1"), None, (0, 0, 0))}, "0.5")
    code = (
        "import sys; from napari_vstain.core.data import create_plate; import napari_vstain.core.data.dataset as d\n"
        "assert not {'dask', 'iohub', 'torch', 'pandas', 'skimage'} & set(sys.modules), sorted(sys.modules)\n"
        f"p = d.open_dataset({str(path)!r}).position('A/1/0'); p.metadata; p.attribute('x')\n"
        "assert not {'dask', 'iohub', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_position_of_a_plate_opens_by_its_path(tmp_path):
    write(tmp_path / "p.zarr", ("a",), {"A/1/0": (np.ones((1, 1, 1, 4, 5), "u1"), None, (0, 0, 0))}, "0.4")
    dataset = open_dataset(tmp_path / "p.zarr" / "A" / "1" / "0")
    assert (dataset.kind, list(dataset.positions)) == (DatasetKind.POSITION, ["0/0/0"])
    assert dataset.position("0/0/0").shape == (1, 1, 1, 4, 5)


def image(path, axes, shape, *, scale=None, unit="micrometer", omero=None, levels=1, version="0.4"):
    """Write a plain image as a third party might."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(levels):
        size = tuple(n if axis in "tc" else max(1, n >> level) for axis, n in zip(axes, shape, strict=True))
        array = group.create_array(str(level), shape=size, dtype="uint16", chunks=size)
        array[:] = np.arange(np.prod(size), dtype="uint16").reshape(size)
        factors = [s if a in "tc" else s * 2.0**level for a, s in zip(axes, scale or [1] * len(axes), strict=True)]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": factors}]})
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": a, "type": kinds.get(a, "space")} | ({"unit": unit} if a in "zyx" and unit else {}) for a in axes]
    ome = {"multiscales": [{"axes": named, "datasets": datasets, "version": version}]} | (
        {"omero": omero} if omero else {}
    )
    group.attrs.update(ome if version == "0.4" else {"ome": {"version": version, **ome}})
    return path


@settings(max_examples=15)
@given(axes=st.sets(st.sampled_from("tcz")).map(lambda s: "".join(a for a in "tcz" if a in s) + "yx"))
def test_any_axes_read_as_tczyx(fresh, axes):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
    shape = tuple(sizes[axis] for axis in axes)
    position = open_dataset(image(fresh("i.zarr"), axes, shape)).position("0/0/0")
    whole = np.arange(np.prod(shape), dtype="uint16").reshape(tuple(sizes[a] if a in axes else 1 for a in "tczyx"))
    assert position.shape == whole.shape
    assert position.channels == tuple(f"Channel {i}" for i in range(whole.shape[1]))
    np.testing.assert_array_equal(position.image().compute(scheduler="sync"), whole)
    np.testing.assert_array_equal(
        position.read([position.channels[-1]], z=slice(0, 1), x=slice(2, 5)), whole[0, -1:, :1, :, 2:5]
    )


@pytest.mark.parametrize("axes", ["yx", "cyx", "tzyx", "tczyx"])
def test_a_number_in_a_lazy_image_drops_its_axis(tmp_path, axes):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 9, "x": 8}
    position = open_dataset(image(tmp_path / "i.zarr", axes, tuple(sizes[axis] for axis in axes))).position("0/0/0")
    whole, lazy = position.image().compute(), position.image()
    np.testing.assert_array_equal(lazy[-1, -1, -1].compute(), whole[-1, -1, -1])
    np.testing.assert_array_equal(lazy[0, 0, 0, 2:5, 3].compute(), whole[0, 0, 0, 2:5, 3])


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("micrometer", 2.0), ("nanometer", 0.002), ("millimeter", 2000.0), ("µm", 2.0), (None, None), ("pixel", None)],
)
def test_units_are_converted_to_micrometres_and_no_unit_is_no_spacing(tmp_path, unit, expected):
    position = open_dataset(image(tmp_path / "i.zarr", "zyx", (1, 4, 4), scale=(2, 2, 2), unit=unit)).position("0/0/0")
    assert position.spacing_um == (pytest.approx((expected,) * 3) if expected else None)


def test_scales_of_level_and_image_multiply_and_translations_follow(tmp_path):
    path = image(tmp_path / "i.zarr", "yx", (4, 4), scale=(2, 3))
    attributes = json.loads((path / ".zattrs").read_text())
    scales = attributes["multiscales"][0]
    scales["datasets"][0]["coordinateTransformations"].append({"type": "translation", "translation": [1, 1]})
    scales["coordinateTransformations"] = [{"type": "scale", "scale": [10, 10]}]
    (path / ".zattrs").write_text(json.dumps(attributes))
    position = open_dataset(path).position("0/0/0")
    assert position.spacing_um == (1.0, 20.0, 30.0)
    assert position.translation_um == (0.0, 10.0, 10.0)


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.5-dev-spatialdata"])
def test_a_pyramid_opens_finest_level_first(tmp_path, version):
    position = open_dataset(image(tmp_path / "i.zarr", "cyx", (2, 64, 32), levels=3, version=version)).position("0/0/0")
    assert [level.shape[3:] for level in position.levels()] == [(64, 32), (32, 16), (16, 8)]
    assert all(isinstance(level, da.Array) for level in position.levels())


def test_labels_that_are_no_text_or_too_few_still_name_channels(tmp_path):
    omero = {"channels": [{"label": 0}, {"color": "FF0000"}]}
    assert open_dataset(image(tmp_path / "i.zarr", "cyx", (3, 4, 4), omero=omero)).channels == (
        "0",
        "Channel 1",
        "Channel 2",
    )


def test_a_missing_channel_or_position_names_what_there_is(tmp_path):
    dataset = open_dataset(image(tmp_path / "i.zarr", "cyx", (2, 4, 4)))
    with pytest.raises(ChannelError, match="channel 'GFP': position 0/0/0 has Channel 0, Channel 1"):
        dataset.position("0/0/0").read(["GFP"])
    with pytest.raises(ChannelError, match="position 'B/1/0': i has 0/0/0"):
        dataset.position("B/1/0")


def sentence(path):
    with pytest.raises(DatasetError) as caught:
        open_dataset(path).position("0/0/0").read(["Channel 0"])
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 400
    return text


def test_what_is_no_ome_zarr_is_said_in_one_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    zarr.open_group(tmp_path / "bare.zarr", mode="w")
    path = image(tmp_path / "i.zarr", "yx", (4, 4))
    assert "is not there" in sentence(tmp_path / "nowhere")
    assert "is a file" in sentence(tmp_path / "notes.txt")
    assert "is no OME-Zarr" in sentence(tmp_path / "empty")
    assert "no OME-Zarr image or plate" in sentence(tmp_path / "bare.zarr")
    assert "one resolution level" in sentence(path / "0")


def test_a_truncated_store_is_said_in_one_sentence(tmp_path):
    for number, (name, text) in enumerate(
        [(".zattrs", '{"multi'), (".zattrs", "[]"), (".zattrs", '{"multiscales": [{}]}'), ("0/.zarray", "{")]
    ):
        path = image(tmp_path / f"{number}.zarr", "yx", (4, 4))
        (path / name).write_text(text)
        assert "damaged" in sentence(path) or "cannot be" in sentence(path) or "lists no resolution" in sentence(path)
    path = image(tmp_path / "gone.zarr", "yx", (4, 4))
    (path / "0").rename(path / "elsewhere")
    assert "is not there" in sentence(path)


def test_a_damaged_chunk_is_an_error_and_a_missing_one_is_empty(tmp_path):
    path = image(tmp_path / "i.zarr", "yx", (64, 64))
    chunk = next(file for file in (path / "0").rglob("*") if file.is_file() and not file.name.startswith("."))
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    assert "pixels that cannot be read" in sentence(path)
    with pytest.raises(DatasetError, match="pixels that cannot be read"):
        open_dataset(path).position("0/0/0").image().compute(scheduler="sync")
    chunk.unlink()
    assert not open_dataset(path).position("0/0/0").read(["Channel 0"]).any()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_plate_is_an_error(tmp_path, version):
    create_plate(tmp_path / "p.zarr", ["a"], version=version)
    with pytest.raises(DatasetError, match="holds no position"):
        open_dataset(tmp_path / "p.zarr")


@pytest.mark.real_data
def test_third_party_stores_open_lazily(real_data):
    expected = {
        "omezarr_v04_plate/hcs.zarr": (8, 3, (1, 3, 1, 64, 64), (1.0, 1.0, 1.0)),
        "omezarr_v04_plate/bf2raw.zarr": (2, 1, (1, 1, 1, 8, 8), None),
        "omezarr_v04_plate/2d.zarr": (1, 3, (1, 3, 1, 64, 64), None),
        "omezarr_v04_fractal/20200812-CardiomyocyteDifferentiation14-Cycle1_B_03_mip.zarr": (
            1, 3, (1, 3, 1, 1080, 1280), (1.0, 0.65, 0.65)
        ),
        "ometiff_viv/ome-zarr/blobs_image_v04.ome.zarr": (1, 3, (1, 3, 1, 12, 12), None),
        "ometiff_viv/ome-zarr/blobs_image_v05.ome.zarr": (1, 3, (1, 3, 1, 12, 12), None),
        "ometiff_viv/bioformats-zarr/data.zarr": (1, 3, (1, 3, 1, 167, 439), None),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr on the empty filter lists of old writers
        for name, (positions, channels, shape, spacing) in expected.items():
            dataset = open_dataset(real_data / name)
            position = next(iter(dataset.positions.values()))
            assert (len(dataset.positions), len(dataset.channels)) == (positions, channels), name
            assert (position.shape, position.spacing_um) == (shape, spacing), name
            whole = position.image().compute(scheduler="sync")
            np.testing.assert_array_equal(position.read(dataset.channels), whole[0])


@pytest.mark.real_data
def test_real_pixels_equal_those_that_zarr_and_iohub_read(real_data):
    from iohub import open_ome_zarr

    path = real_data / "omezarr_v04_plate" / "hcs.zarr"
    dataset = open_dataset(path)
    for key, position in dataset.positions.items():
        np.testing.assert_array_equal(position.read(dataset.channels), zarr.open_array(path / key / "0", mode="r")[0])
    with open_ome_zarr(path, mode="r") as plate:
        theirs = {key: position["0"][:] for key, position in plate.positions()}
    assert list(theirs) == list(dataset.positions)
    assert Path(path / "B" / "2" / "0").is_dir()
    np.testing.assert_array_equal(dataset.position("B/2/0").read(dataset.channels), theirs["B/2/0"][0])
