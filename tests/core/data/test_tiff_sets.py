"""Every image of a TIFF or of a set is seen, asked for or refused; lengths and axes are what the file says."""

import logging
import os
import shutil
from uuid import UUID

import numpy as np
import pytest
import tifffile

from napari_vstain.core.data import ImportSettings, open_dataset, recorded, run_import
from napari_vstain.core.data.layouts.pattern import FilePattern
from napari_vstain.core.data.readers.stated import Stated
from napari_vstain.core.data.readers.tiff import read_header, read_headers, read_plane
from napari_vstain.core.errors import DatasetError, SettingsError
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="%s">'


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports the files of a folder."""
    workspace = Workspace.create(tmp_path / "ws")

    def run(pattern="{position}.ome.tif", **settings):
        values = {"source": tmp_path / "source", "pattern": pattern, "name": f"n{len(workspace.dataset_names())}"}
        return run_import(ImportSettings.parse({**values, **settings}), workspace, Progress())

    return run


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def flat(value, shape=(20, 30), dtype="uint16"):
    return np.full(shape, value, dtype)


def uuid(number):
    return f"urn:uuid:{UUID(int=number)}"


def described(images):
    """Return OME-XML of images {name: [(c, ifd, file, uuid)]}, two channels each, without its beginning."""
    text = ""
    for number, (name, planes) in enumerate(images.items()):
        text += (
            f'<Image ID="Image:{number}" Name="{name}"><Pixels DimensionOrder="XYCZT" Type="uint16" SizeX="30"'
            ' SizeY="20" SizeC="2" SizeZ="1" SizeT="1" PhysicalSizeX="0.3" PhysicalSizeY="0.3"><Channel Name="Phase"/>'
            '<Channel Name="DAPI"/>'
        )
        for c, ifd, file, own in planes:
            text += f'<TiffData FirstC="{c}" IFD="{ifd}" PlaneCount="1"><UUID FileName="{file}">{own}</UUID></TiffData>'
        text += "</Pixels></Image>"
    return text + "</OME>"


def save(path, values, text):
    with tifffile.TiffWriter(path) as file:
        for number, value in enumerate(values):
            description = text.encode() if number == 0 else None
            file.write(flat(value), description=description, metadata=None, contiguous=False)


def save_set(folder, count=3):
    """Write one file a position, each of which describes all."""
    names = [f"Pos{i}.ome.tif" for i in range(count)]
    text = described({f"Pos{i}": [(c, c, name, uuid(i + 1)) for c in (0, 1)] for i, name in enumerate(names)})
    for i, name in enumerate(names):
        save(folder / name, (10 * i + 1, 10 * i + 2), HEAD % uuid(i + 1) + text)
    return names


def values_of(result):
    """Return by position what the pixels of each channel are."""
    found = {}
    for key, position in open_dataset(result.dataset).positions.items():
        read = position.read(position.channels)
        assert (read == read[:, :1, :1, :1]).all()
        found[key] = dict(zip(position.channels, read[:, 0, 0, 0].tolist(), strict=True))
    return found


@pytest.mark.parametrize("missing", [(), (0,), (1, 2)])
def test_each_file_of_a_set_gives_its_own_position(source, imported, missing):
    for number in missing:
        save_set(source)
        (source / f"Pos{number}.ome.tif").unlink()
    if not missing:
        save_set(source)
    for number in missing:
        (source / f"Pos{number}.ome.tif").unlink(missing_ok=True)
    there = [number for number in range(3) if number not in missing]
    found = values_of(imported())
    assert found == {f"0/0/Pos{n}": {"Phase": 10 * n + 1, "DAPI": 10 * n + 2} for n in there}


def test_a_renamed_file_of_a_set_is_known_by_its_uuid(source, imported):
    save_set(source)
    (source / "Pos1.ome.tif").rename(source / "kept.ome.tif")
    assert values_of(imported())["0/0/kept"] == {"Phase": 11, "DAPI": 12}


def test_a_renamed_file_that_is_alone_needs_no_uuid(source, imported):
    text = described({"one": [(c, c, "former.ome.tif", uuid(5)) for c in (0, 1)]})
    save(source / "now.ome.tif", (1, 2), HEAD.replace(' UUID="%s"', "") + text)
    assert values_of(imported()) == {"0/0/now": {"Phase": 1, "DAPI": 2}}


def test_a_file_of_nothing_but_others_is_refused(source, imported):
    text = described({n: [(c, c, f"{n}.ome.tif", uuid(i)) for c in (0, 1)] for i, n in enumerate("ab")})
    save(source / "c.ome.tif", (1, 2), HEAD.replace(' UUID="%s"', "") + text)
    with pytest.raises(DatasetError, match=r"names only other files \(a.ome.tif, b.ome.tif\); give it the name"):
        imported()


def test_every_image_of_a_file_is_a_position(source, imported):
    with tifffile.TiffWriter(source / "scan.ome.tif", ome=True) as file:
        for i in range(3):
            pixels = np.stack([flat(10 * i + 1), flat(10 * i + 2)])
            file.write(pixels, metadata={"axes": "CYX", "Channel": {"Name": ["Phase", "DAPI"]}, "Name": f"field {i}"})
    result = imported()
    assert values_of(result) == {f"0/0/scan{n}": {"Phase": 10 * n + 1, "DAPI": 10 * n + 2} for n in range(3)}
    assert recorded(open_dataset(result.dataset).position("0/0/scan2"), "import")["image"] == "field 2"


def test_pages_of_several_sizes_are_several_positions_and_thumbnails_none(source, imported):
    with tifffile.TiffWriter(source / "a.tif") as file:
        file.write(flat(1), metadata=None)
        file.write(flat(2, (8, 9)), metadata=None)
        file.write(flat(3, (4, 5)), metadata=None, subfiletype=1)
    assert values_of(imported("{position}.tif")) == {"0/0/a0": {"Channel 0": 1}, "0/0/a1": {"Channel 0": 2}}


@pytest.mark.parametrize("there", [True, False])
def test_a_companion_file_describes_the_planes(source, imported, there):
    own, whole = uuid(7), uuid(8)
    stub = HEAD % own + f'<BinaryOnly MetadataFile="set.companion.ome" UUID="{whole}"/></OME>'
    save(source / "A1.ome.tif", (1, 2), stub)
    if there:
        planes = [(c, c, "A1.ome.tif", own) for c in (0, 1)]
        (source / "set.companion.ome").write_text(HEAD % whole + described({"A1": planes}))
        assert values_of(imported()) == {"0/0/A1": {"Phase": 1, "DAPI": 2}}
    else:
        with pytest.raises(DatasetError, match=r"is described in set.companion.ome, which is not beside it; copy"):
            imported()


def test_files_whose_planes_make_up_one_image_are_one_position(source, imported):
    names = ["z0.ome.tif", "z1.ome.tif"]
    text = described({"one": [(c, 0, name, uuid(c + 1)) for c, name in enumerate(names)]})
    for c, name in enumerate(names):
        save(source / name, (c + 5,), HEAD % uuid(c + 1) + text)
    result = imported()
    assert values_of(result) == {"0/0/z0": {"Phase": 5, "DAPI": 6}}
    assert "1 files, such as z1.ome.tif, are parts of images that other files begin." in result.notes


@pytest.mark.parametrize("name", ["../x.ome.tif", "/etc/passwd", "a/b.tif", "..\\x.tif", "C:x.tif", "", ".."])
@pytest.mark.parametrize("companion", [True, False])
def test_files_that_metadata_names_are_in_the_same_folder(source, imported, name, companion):
    text = described({"a": [(0, 0, "a.ome.tif", uuid(1)), (1, 0, name, uuid(2))]})
    if companion:
        text = f'<BinaryOnly MetadataFile="{name}" UUID="{uuid(2)}"/></OME>'
    save(source / "a.ome.tif", (1,), HEAD % uuid(1) + text)
    with pytest.raises(DatasetError, match="leads out of its folder"):
        imported()


def test_a_description_that_cannot_be_followed_is_not_passed_over(source, imported):
    save(source / "a.ome.tif", (1, 2), (HEAD % uuid(1)) + "<Image></OME>")
    with pytest.raises(DatasetError, match="OME description that cannot be read"):
        imported()
    assert open_dataset(imported(axes="CYX").dataset).position("0/0/a").shape == (1, 2, 1, 20, 30)


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_rows_that_lie_across_pages_are_read(source, imported, stack, compression):
    shape = (3, 20, 30, 2) if stack else (20, 30, 2)
    pixels = np.random.default_rng(0).integers(0, 999, shape).astype("uint16")
    axes = "ZYXC" if stack else "YXC"
    options = {"photometric": "minisblack", "compression": compression}
    tifffile.imwrite(source / "a.tif", pixels, metadata={"axes": axes}, **options)
    position = open_dataset(imported("{position}.tif").dataset).position("0/0/a")
    expected = np.moveaxis(pixels, -1, 0) if stack else np.moveaxis(pixels, -1, 0)[:, None]
    np.testing.assert_array_equal(position.read(position.channels), expected)


def test_channels_that_may_come_last_are_asked_for(source, imported):
    pixels = np.random.default_rng(0).integers(0, 999, (20, 30, 2)).astype("uint16")
    tifffile.imwrite(source / "a.tif", pixels)
    with pytest.raises(DatasetError, match=r"20 pages of 30 × 2 px, which is unlikely.*YXC if they do, ZYX if"):
        imported("{position}.tif")
    position = open_dataset(imported("{position}.tif", axes="yxc").dataset).position("0/0/a")
    np.testing.assert_array_equal(position.read(position.channels)[:, 0], np.moveaxis(pixels, -1, 0))
    assert open_dataset(imported("{position}.tif", axes="ZYX").dataset).position("0/0/a").shape == (1, 1, 20, 30, 2)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("TYX", (4, 1, 1, 20, 30)), ("CYX", (1, 4, 1, 20, 30)), ("ZYX", (1, 1, 4, 20, 30)), ("ZXY", (1, 1, 4, 30, 20))],
)
def test_axes_that_are_stated_win_over_what_the_file_says(source, axes, shape):
    pixels = np.arange(4 * 600).reshape(4, 20, 30).astype("uint16")
    for name, options in (("a.tif", {}), ("b.tif", {"imagej": True, "metadata": {"axes": "ZYX"}}),
                          ("c.ome.tif", {"metadata": {"axes": "CYX"}})):  # fmt: skip
        tifffile.imwrite(source / name, pixels, photometric="minisblack", **options)
        header = read_header(source / name, Stated(axes))
        assert header.shape == shape
        at = (3, 0, 0) if axes[0] == "T" else (0, 3, 0) if axes[0] == "C" else (0, 0, 3)
        plane = read_plane(header, *at)
        np.testing.assert_array_equal(plane, pixels[3].T if axes == "ZXY" else pixels[3])


@pytest.mark.parametrize("axes", ["QYX", "Y", "YY", "ZY", "TCZYXS"])
def test_axes_that_cannot_be_stated_are_refused(imported, axes):
    with pytest.raises(SettingsError, match="must be some of T, C, Z, Y and X"):
        imported(axes=axes)


def test_axes_that_do_not_fit_the_file_say_so(source):
    tifffile.imwrite(source / "a.tif", np.zeros((4, 20, 30), "u1"), photometric="minisblack")
    with pytest.raises(DatasetError, match=r"3 axes longer than 1 \(4 × 20 × 30\), and TCYX names 4; correct"):
        read_header(source / "a.tif", Stated("TCYX"))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_that_are_grey_channels_can_be_said_to_be(source, imported, planar):
    pixels = np.stack([flat(n, dtype="uint8") for n in (1, 2, 3)], -1 if planar == "contig" else 0)
    tifffile.imwrite(source / "a.tif", pixels, photometric="rgb", planarconfig=planar)
    with pytest.raises(DatasetError, match="is a colour image; split its channels into grey images, or import it with"):
        imported("{position}.tif")
    found = values_of(imported("{position}.tif", grey_channels=True))
    assert found == {"0/0/a": {"Channel 0": 1, "Channel 1": 2, "Channel 2": 3}}


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint64", "float16", "float64", ">u2", ">f4"])
@pytest.mark.parametrize("shape", [(20, 30), (2, 2), (1, 1)])
def test_pixels_of_any_real_type_and_size_are_imported(source, imported, dtype, shape):
    pixels = (np.random.default_rng(0).random(shape) * 100 > 50).astype(dtype)
    tifffile.imwrite(source / "a.tif", pixels, photometric="minisblack")
    position = open_dataset(imported("{position}.tif").dataset).position("0/0/a")
    np.testing.assert_array_equal(position.read(["Channel 0"])[0, 0], pixels)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"bigtiff": True, "compression": "zlib"}])
def test_the_finest_level_of_a_pyramid_is_read(source, options):
    pixels = np.random.default_rng(0).integers(0, 99, (2, 64, 64)).astype("uint16")
    with tifffile.TiffWriter(source / "a.ome.tif", bigtiff=options.pop("bigtiff", False)) as file:
        file.write(pixels, subifds=1, metadata={"axes": "CYX"}, **options)
        file.write(pixels[:, ::2, ::2], subfiletype=1, **options)
    (header,) = read_headers(source / "a.ome.tif")
    assert header.shape == (1, 2, 1, 64, 64)
    np.testing.assert_array_equal(read_plane(header, 0, 1, 0), pixels[1])


@pytest.mark.parametrize(
    ("metadata", "spacing"),
    [
        ({"unit": "um", "spacing": 500, "zunit": "nm"}, (0.5, 0.25, 0.25)),
        ({"unit": "microns", "spacing": 2}, (2, 0.25, 0.25)),
        ({"unit": "um"}, (None, 0.25, 0.25)),
        ({"unit": "um", "spacing": 3, "zunit": "pixel"}, (None, 0.25, 0.25)),
        ({"unit": "um", "spacing": 2, "yunit": "nm"}, (2, 0.00025, 0.25)),
        ({"unit": "pixel", "spacing": 2}, None),
        ({"spacing": 2}, None),
    ],
)
def test_imagej_has_a_unit_for_each_axis(source, metadata, spacing):
    said = {"axes": "ZYX", **metadata}
    tifffile.imwrite(source / "a.tif", np.zeros((2, 20, 30), "u1"), imagej=True, resolution=(4, 4), metadata=said)
    found = read_header(source / "a.tif").spacing_um
    assert found == (spacing if spacing is None else pytest.approx(spacing))


@pytest.mark.parametrize(
    ("sizes", "spacing"),
    [
        ({"Z": (0.5, "µm"), "Y": (0.1, "µm"), "X": (0.1, "µm")}, (0.5, 0.1, 0.1)),
        ({"Z": (500, "nm"), "Y": (1e-4, "mm"), "X": (0.1, "µm")}, (0.5, 0.1, 0.1)),
        ({"Y": (0.1, "µm"), "X": (0.1, "µm")}, (None, 0.1, 0.1)),
        ({"Z": (1, "reference frame"), "Y": (0.1, "µm"), "X": (0.1, "µm")}, (None, 0.1, 0.1)),
        ({"Z": (1, "µm"), "Y": (1, "pixel"), "X": (1, "pixel")}, None),
    ],
)
def test_ome_lengths_keep_their_unit(source, sizes, spacing):
    said = {"axes": "ZYX"}
    for axis, (size, unit) in sizes.items():
        said |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
    tifffile.imwrite(source / "a.ome.tif", np.zeros((2, 20, 30), "u1"), metadata=said)
    found = read_header(source / "a.ome.tif").spacing_um
    assert found == (spacing if spacing is None else pytest.approx(spacing))


def test_what_is_not_known_or_unlikely_is_said_once(source, imported):
    for name in "ab":
        tifffile.imwrite(source / f"{name}.tif", flat(1), imagej=True, resolution=(72, 72), metadata={"unit": "inch"})
    tifffile.imwrite(source / "c.tif", np.zeros((3, 20, 30), "u1"), photometric="minisblack")
    notes = imported("{position}.tif").notes
    assert notes == (
        "a (and 1 more) says that a pixel measures 352.8 µm, which is unlikely for a microscope.",
        "c does not say its voxel size, which stays unknown.",
        "c does not say what its pages are: they are taken for slices (state `axes` if they are not).",
    )
    assert imported("{position}.tif", spacing_um=(1, 0.2, 0.2), axes="").notes == notes[2:]


def test_hidden_files_and_folders_are_passed_over(source, imported):
    tifffile.imwrite(source / "a.tif", flat(1))
    for name in ("._a.tif", ".a.tif", ".DS_Store", "Thumbs.db", "~$a.tif"):
        (source / name).write_bytes(b"\0\5\x16\7" + bytes(90))
    assert imported("{position}.tif").positions == ("0/0/a",)
    for folder in ("run", "@eaDir", "__MACOSX", ".Trash", "#recycle"):
        (source / folder).mkdir()
        tifffile.imwrite(source / folder / "b.tif", flat(1))
    assert [match.path.parent.name for match in FilePattern("{position}/*.tif").planes(source)] == ["run"]
    assert len(list(FilePattern(".{position}.tif").planes(source))) == 2


def test_files_that_do_not_match_are_counted_and_named(source, imported):
    for name in ("A/1.tif", "07/1.tif", "B_2/1.tif", "C_3/1.tif"):
        (source / name).parent.mkdir()
        tifffile.imwrite(source / name, flat(1))
    (source / "A" / "notes.txt").touch()
    notes = imported("{row}/{position}.tif", spacing_um=(1, 1, 1)).notes
    assert notes == ("2 files do not match the pattern, and were left out: B_2/1.tif, C_3/1.tif.",)


def test_files_of_channels_that_were_not_asked_for_are_no_surprise(source, imported):
    for name in ("a_phase.tif", "a_mask.tif"):
        tifffile.imwrite(source / name, flat(1))
    pattern = "{position}_{channel}.tif"
    assert imported(pattern, channels={"phase": "Phase"}, spacing_um=(1, 1, 1)).notes == ()


def test_a_name_that_is_no_utf_8_is_imported(source, imported):
    name = os.fsdecode(b"a\xff_x.tif")
    try:
        tifffile.imwrite(source / "b.tif", flat(1))
        (source / "b.tif").rename(source / name)
    except OSError:
        pytest.skip("this disk takes no such name")
    result = imported("{position}_{channel}.tif")
    assert result.positions == ("0/0/a",)
    (source / name).write_text("no image")
    with pytest.raises(DatasetError) as caught:
        imported("{position}_{channel}.tif")
    assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_end_in_a_sentence_and_no_log_line(source, seed, caplog):
    random = np.random.default_rng(seed)
    path = source / "a.ome.tif"
    tifffile.imwrite(path, random.integers(0, 99, (2, 20, 30)).astype("uint16"), metadata={"axes": "CYX"})
    content = bytearray(path.read_bytes())
    for at in random.integers(0, len(content) if seed % 2 else 400, 6):
        content[at] = random.integers(0, 256)
    path.write_bytes(content)
    with caplog.at_level(logging.DEBUG, "tifffile"):
        try:
            for header in read_headers(path):
                read_plane(header, 0, 0, 0)
        except DatasetError as error:
            text = str(error)
            assert text.endswith(".") and "\n" not in text
    assert not [record for record in caplog.records if record.name == "tifffile"]


@pytest.mark.parametrize("tag", [256, 257])
def test_a_width_or_height_of_none_is_said(source, tag):
    path = source / "a.tif"
    tifffile.imwrite(path, flat(1), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[tag].overwrite(0)
    with pytest.raises(DatasetError) as caught:
        read_header(path)
    assert str(caught.value).endswith(".")


def test_a_folder_of_links_is_imported(source, imported, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    for name in save_set(real):
        (source / name).symlink_to(real / name)
    assert len(values_of(imported())) == 3
    shutil.rmtree(real)


def test_directories_that_lead_around_and_sizes_that_lie_end_at_once(source):
    path = source / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 20, 30), "u2"), photometric="minisblack", metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        pages = [(page.offset, len(page.tags)) for page in file.pages]
    at = pages[1][0] + 2 + 12 * pages[1][1]
    content[at : at + 4] = pages[0][0].to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="lead around in a circle"):
        read_header(path)
    tifffile.imwrite(path, flat(1, (32, 32)), tile=(16, 16), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[257].overwrite(2**24)
    with pytest.raises(DatasetError, match=r"has 4 of the \d+ strips or tiles that its sizes ask for"):
        read_header(path)
