"""Stores as others really write them: what is optional never refuses an image, what is missing is named."""

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.data import DatasetKind, create_plate, open_dataset
from napari_vstain.core.data.channel_names import told_apart
from napari_vstain.core.errors import DatasetError

SCALE = {"type": "scale", "scale": [1, 1, 2, 0.5, 0.25]}
AXES = [
    {"name": "t", "type": "time"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def pixels(shape=(1, 2, 1, 6, 5), dtype="uint16"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def store(path, data=None, attributes=None, zarr_format=2, level="0", **scales):
    """Write an image TCZYX whose metadata is given in part."""
    data = pixels() if data is None else data
    multiscales = {"axes": AXES, "datasets": [{"path": level, "coordinateTransformations": [SCALE]}], **scales}
    said = {"multiscales": [multiscales], **(attributes or {})}
    if zarr_format == 2:
        dump(path / ".zgroup", {"zarr_format": 2})
        dump(path / ".zattrs", said)
    else:
        dump(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": said}})
    options = {"chunks": data.shape, "zarr_format": zarr_format}
    zarr.create_array(path / level, shape=data.shape, dtype=data.dtype, **options)[...] = data
    return path


def only(path):
    return open_dataset(path).position("0/0/0")


def omero(*labels, **window):
    return {"omero": {"channels": [{"label": label, "color": "FF0000", "window": window} for label in labels]}}


def plate(path, keys=("A/1/0", "A/2/0", "A/3/0"), channels=("Phase", "Nuclei")):
    with create_plate(path, channels, version="0.4") as writer:
        for key in keys:
            writer.add_position(key, (1, len(channels), 1, 6, 5), "u2")[:] = pixels((1, len(channels), 1, 6, 5))
    return path


def test_a_well_that_is_not_there_is_named_and_the_others_open(tmp_path):
    path = plate(tmp_path / "p.zarr")
    shutil.rmtree(path / "A" / "1")
    dataset = open_dataset(path)
    assert list(dataset.positions) == ["A/2/0", "A/3/0"]
    assert str(dataset.unusable["A/1"]) == "A/1 is listed, but is not there"
    assert dataset.channels == ("Phase", "Nuclei")
    with pytest.raises(DatasetError, match="position 'A/1/0': is listed, but is not there; leave it out"):
        dataset.position("A/1/0")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: shutil.rmtree(p / "A/1/0"), "A/1/0 is listed, but is not there"),
        (lambda p: shutil.rmtree(p / "A/1/0/0"), "A/1/0 is not there"),
        (lambda p: (p / "A/1/0/.zattrs").write_text("{"), "A/1/0 its .zattrs is damaged"),
        (lambda p: (p / "A/1/.zattrs").write_text("[]"), "A/1 its .zattrs is damaged"),
        (lambda p: dump(p / "A/1/.zattrs", {"well": {"images": 3}}), "A/1 has a list of images that cannot be read"),
        (lambda p: dump(p / "A/1/.zattrs", {"well": {"images": [{}]}}), "A/1/None lists a part without a path"),
    ],
)
def test_what_is_wrong_with_a_first_position_is_said_and_the_others_open(tmp_path, damage, reason):
    path = plate(tmp_path / "p.zarr")
    damage(path)
    dataset = open_dataset(path)
    assert list(dataset.positions) == ["A/2/0", "A/3/0"]
    (left_out,) = dataset.unusable.values()
    assert str(left_out).startswith(reason)


def test_a_plate_of_which_nothing_can_be_used_says_why(tmp_path):
    path = plate(tmp_path / "p.zarr", ["A/1/0"])
    shutil.rmtree(path / "A" / "1")
    with pytest.raises(DatasetError, match="no position that can be used: A/1 is listed, but is not there; choose"):
        open_dataset(path)


def test_positions_may_have_other_channels(tmp_path):
    path = plate(tmp_path / "p.zarr", ["A/1/0", "A/1/1"])
    said = json.loads((path / "A/1/1/.zattrs").read_text())
    for channel, name in zip(said["omero"]["channels"], ("GFP", "Cy5"), strict=True):
        channel["label"] = name
    dump(path / "A/1/1/.zattrs", said)
    dataset = open_dataset(path)
    assert [position.channels for position in dataset.positions.values()] == [("Phase", "Nuclei"), ("GFP", "Cy5")]


def test_two_channels_of_one_name_are_both_reached(tmp_path):
    data = pixels((1, 3, 1, 6, 5))
    position = only(store(tmp_path / "i.zarr", data, omero("Phase", "GFP", "GFP")))
    assert position.channels == ("Phase", "GFP 1", "GFP 2")
    np.testing.assert_array_equal(position.read(["GFP 2", "GFP 1"]), data[0, [2, 1]])


@given(st.lists(st.none() | st.sampled_from(["a", "a 1", "Channel 0", "Channel 1", "", " "]) | st.text(max_size=3)))
def test_names_are_made_different_and_kept_when_they_are(names):
    made = told_apart(names)
    assert len(made) == len(set(made)) == len(names)
    assert all(name.strip() for name in made)
    again = told_apart(made)
    assert again == made


def test_what_0_5_writers_leave_beside_ome_counts(tmp_path):
    path = store(tmp_path / "i.zarr", zarr_format=3)
    said = json.loads((path / "zarr.json").read_text())
    said["attributes"].update(omero("Phase", "Nuclei", start=1, end=9))
    dump(path / "zarr.json", said)
    assert only(path).channels == ("Phase", "Nuclei")
    assert only(path).contrast_limits("Phase") == (1, 9)


@pytest.mark.parametrize(
    "window", [{"start": None, "end": None}, {"start": "auto", "end": "auto"}, {}, {"start": 5}, {"start": 9, "end": 1}]
)
def test_a_contrast_that_is_none_refuses_no_image(tmp_path, window):
    position = only(store(tmp_path / "i.zarr", None, omero("a", "b", **window)))
    assert position.contrast_limits("a") is None


@pytest.mark.parametrize(
    "odd",
    [
        {"omero": None}, {"omero": []}, {"omero": {"channels": None}}, {"omero": {"channels": [1, None]}},
        {"omero": {"channels": [{"label": None, "color": 255, "window": [1, 2]}]}}, {"omero": {"channels": {}}},
    ],
)  # fmt: skip
def test_what_is_said_of_display_never_refuses_an_image(tmp_path, odd):
    position = only(store(tmp_path / "i.zarr", None, odd))
    assert position.channels == ("Channel 0", "Channel 1")
    assert (position.contrast_limits("Channel 0"), position.colour("Channel 0")) == (None, None)


def axes_named(*named):
    return [{"name": name, **({"type": kind} if kind else {})} for name, kind in named]


@pytest.mark.parametrize(
    ("axes", "stored", "read"),
    [
        (axes_named(("channel", "channel"), ("y", "space"), ("x", "space")), (2, 6, 5), (1, 2, 1, 6, 5)),
        (axes_named(("angle", None), ("y", "space"), ("x", "space")), (2, 6, 5), (1, 2, 1, 6, 5)),
        (axes_named(("angle", "custom"), ("y", "space"), ("x", "space")), (2, 6, 5), (1, 2, 1, 6, 5)),
        (axes_named(("time", "time"), ("depth", "space"), ("row", "space"), ("col", "space")), (3, 2, 6, 5),
         (3, 1, 2, 6, 5)),
        (axes_named(("T", "time"), ("Z", "space"), ("Y", "space"), ("X", "space")), (3, 2, 6, 5), (3, 1, 2, 6, 5)),
        (axes_named(("frame", "time"), ("x", "space"), ("y", "space")), (3, 5, 6), (3, 1, 1, 6, 5)),
        (axes_named(("z", "space"), ("x", "space")), (6, 5), (1, 1, 1, 6, 5)),
        (["t", "z", "y", "x"], (3, 2, 6, 5), (3, 1, 2, 6, 5)),
        (axes_named(("x", "space"), ("y", "space"), ("z", "space"), ("c", "channel")), (5, 6, 2, 3), (1, 3, 2, 6, 5)),
    ],
)  # fmt: skip
def test_axes_are_what_their_type_says_whatever_their_name(tmp_path, axes, stored, read):
    position = only(store(tmp_path / "i.zarr", pixels(stored), axes=axes))
    assert position.shape == read
    assert position.read(position.channels).shape == read[1:]


@pytest.mark.parametrize(
    ("axes", "rule"),
    [
        (axes_named(("x", "space"), ("x", "space")), "names an axis twice"),
        (axes_named(("t", "time"), ("c", "channel")), "of which 0 are of space"),
        (axes_named(("angle", ""), ("c", "channel"), ("y", "space"), ("x", "space")), "angle and c, of which only"),
        ([], "no two to five axes"), (None, "no two to five axes"), ([1, 2], "are of space"), ("yx", "no two to five"),
    ],
)  # fmt: skip
def test_axes_that_cannot_be_told_are_the_reason_that_is_given(tmp_path, axes, rule):
    with pytest.raises(DatasetError, match=rule):
        open_dataset(store(tmp_path / "i.zarr", axes=axes))


def said_by(transforms, units=("micrometer",) * 3, **more):
    axes = [dict(axis) for axis in AXES]
    for axis, unit in zip(axes[2:], units, strict=True):
        axis.update({"unit": unit} if unit else {})
        if not unit:
            axis.pop("unit")
    return {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}], **more}


@pytest.mark.parametrize(
    ("said", "spacing"),
    [
        (said_by([SCALE]), (2, 0.5, 0.25)),
        (said_by([SCALE], ("nanometer", "micrometer", "micrometer")), (0.002, 0.5, 0.25)),
        (said_by([SCALE], (None, "micrometer", "micrometer")), (None, 0.5, 0.25)),
        (said_by([SCALE], ("pixel", "micrometer", "micrometer")), (None, 0.5, 0.25)),
        (said_by([SCALE], ("micrometer", None, "micrometer")), None),
        (said_by([{"type": "scale", "scale": [0.5, 0.25]}]), None),
        (said_by([{"type": "scale", "scale": ["a"] * 5}]), None),
        (said_by([{"type": "scale", "path": "scales"}]), None),
        (said_by([{"type": "scale", "scale": [1, 1, 0, 0.5, 0.25]}]), (None, 0.5, 0.25)),
        (said_by([{"type": "scale", "scale": [1, 1, 1, float("inf"), 0.25]}]), None),
        (said_by([]), None),
        (said_by(None), None),
        (said_by([SCALE], coordinateTransformations=[{"type": "scale", "scale": ["invalid"]}]), None),
        (said_by([{"type": "affine"}, SCALE]), None),
    ],
)
def test_a_length_that_is_not_known_stays_unknown(tmp_path, said, spacing):
    assert only(store(tmp_path / "i.zarr", **said)).spacing_um == spacing


def test_an_unknown_distance_of_slices_is_written_as_unknown(tmp_path):
    with create_plate(tmp_path / "p.zarr", ["a"]) as writer:
        writer.add_position("A/1/0", (1, 1, 3, 4, 4), "u1", (None, 0.5, 0.25))[:] = 1
    assert open_dataset(tmp_path / "p.zarr").position("A/1/0").spacing_um == (None, 0.5, 0.25)


@pytest.mark.parametrize("name", ["image.ozx", "image.ome.zarr.zip"])
def test_a_store_in_one_file_is_told_to_be_unpacked(tmp_path, name):
    store(tmp_path / "image.ome.zarr")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "image.ome.zarr")
    (tmp_path / "packed.zip").rename(tmp_path / name)
    with pytest.raises(DatasetError, match=f"packed in one file.*unpack it with `unzip {name} -d image.ome.zarr`"):
        open_dataset(tmp_path / name)


def test_a_level_that_only_speeds_up_showing_may_be_missing(tmp_path):
    path = store(tmp_path / "i.zarr", datasets=[{"path": "0"}, {"path": "1"}, {"path": "../x"}, {}])
    assert len(only(path).levels()) == 1


def test_the_images_of_bio_formats_are_those_that_it_lists(tmp_path):
    dump(tmp_path / "s.zarr/.zgroup", {"zarr_format": 2})
    dump(tmp_path / "s.zarr/.zattrs", {"bioformats2raw.layout": 3})
    dump(tmp_path / "s.zarr/OME/.zgroup", {"zarr_format": 2})
    dump(tmp_path / "s.zarr/OME/.zattrs", {"series": ["1", "0", "7", "../x"]})
    for name in "012":
        store(tmp_path / "s.zarr" / name)
    dataset = open_dataset(tmp_path / "s.zarr")
    assert (dataset.kind, list(dataset.positions)) == (DatasetKind.IMAGE, ["0/0/1", "0/0/0"])
    assert list(dataset.unusable) == ["0/0/7", "0/0/../x"]


@pytest.mark.parametrize("dtype", ["bool", ">u2", ">f4", "int64", "uint64", "float16"])
def test_pixels_come_in_a_type_that_can_be_reckoned_with(tmp_path, dtype):
    data = (pixels() % 2).astype(dtype)
    position = only(store(tmp_path / "i.zarr", data))
    read = position.read(["Channel 1"])
    np.testing.assert_array_equal(read, data[0, 1:])
    assert read.dtype == position.dtype == ("uint8" if dtype == "bool" else np.dtype(dtype).newbyteorder("="))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".zattrs", "[" * 100_000), (".zattrs", "null"), (".zattrs", '{"multiscales": {}}'), (".zattrs", "\x00"),
        (".zattrs", '{"multiscales": [{"datasets": [{"path": "\\u0000"}]}]}'),
        (".zattrs", '{"multiscales": [{"datasets": [{"path": "\\ud800"}]}]}'),
        (".zattrs", '{"multiscales": [{"datasets": [{"path": "' + "x" * 5000 + '"}]}]}'),
        ("0/.zarray", "[]"), ("0/.zarray", "null"), ("0/.zarray", "{}"), ("0/.zarray", "[" * 100_000),
    ],
)  # fmt: skip
def test_metadata_of_any_kind_ends_in_a_sentence(tmp_path, name, text):
    path = store(tmp_path / "i.zarr")
    (path / name).write_text(text)
    with pytest.raises(DatasetError) as caught:
        only(path).read(["Channel 0"])
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("sizes", [[10**12] * 5, [2**70, 1, 1, 1, 1], [1, 2, 1, 0, 5], [1, 2, 1, -6, 5]])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_sizes_that_lie_end_in_a_sentence(tmp_path, sizes, zarr_format):
    path = store(tmp_path / "i.zarr", zarr_format=zarr_format)
    file = path / "0" / ("zarr.json" if zarr_format == 3 else ".zarray")
    dump(file, {**json.loads(file.read_text()), "shape": sizes})
    with pytest.raises(DatasetError) as caught:
        only(path).read(["Channel 0"])
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_an_array_of_pickles_is_never_opened(tmp_path):
    path = store(tmp_path / "i.zarr")
    said = json.loads((path / "0/.zarray").read_text())
    dump(path / "0/.zarray", {**said, "filters": [{"id": "pickle", "protocol": 5}]})
    with pytest.raises(DatasetError, match="may run code"):
        open_dataset(path)


@settings(max_examples=60)
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
                          lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                              st.sampled_from(["axes", "datasets", "path", "name", "type", "scale", "omero", "channels",
                                               "coordinateTransformations", "label", "window"]), inner, max_size=4),
                          max_leaves=12))  # fmt: skip
def test_an_image_opens_or_says_why_not(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.zarr"
    if not path.exists():
        store(path)
    for said in ({"multiscales": value}, {"multiscales": [value]}, {"plate": value}, {"well": value}, {"ome": value}):
        dump(path / ".zattrs", {"multiscales": [{"axes": AXES, "datasets": [{"path": "0"}]}], **said})
        with suppress(DatasetError):
            only(path).read(only(path).channels)
