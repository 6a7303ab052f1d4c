"""Import is the identity on pixels, says what is wrong before it writes, and leaves the whole plate or nothing."""

import errno
import itertools
import re
import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import _local

from napari_vstain.core.data import ImportSettings, open_dataset, recorded, run_import
from napari_vstain.core.data.plate import PlateWriter
from napari_vstain.core.errors import DatasetError, SettingsError, StorageError
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.workspace import Workspace

PATTERN = "{position}_{channel}.tif"


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "ws")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def picture(seed, shape=(96, 80), dtype="uint16"):
    return (np.random.default_rng(seed).random(shape) * 200).astype(dtype)


def structures(seed, shape=(160, 150)):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(seed).random(shape), 3) * 1e4


def save(folder, images):
    for name, pixels in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / name, pixels)


def do_import(workspace, source, progress=None, **settings):
    values = {"source": source, "pattern": PATTERN, "name": "plate", **settings}
    return run_import(ImportSettings.parse(values), workspace, progress or Progress())


def refused(workspace, source, kind=DatasetError, **settings):
    """Return the sentence of an import that fails, having checked that it left nothing."""
    with pytest.raises(kind) as caught:
        do_import(workspace, source, **settings)
    assert list(workspace.datasets.iterdir()) == []
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


@settings(max_examples=20)
@given(
    positions=st.integers(1, 3),
    channels=st.lists(st.sampled_from(["phase", "gfp", "dapi"]), min_size=1, max_size=3, unique=True),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    version=st.sampled_from(["0.4", "0.5"]),
)
def test_import_then_read_is_the_identity(tmp_path_factory, positions, channels, shape, dtype, version):
    root = tmp_path_factory.mktemp("import")
    images = {
        (f"p{p}", channel): picture(10 * p + c, shape, dtype)
        for p in range(positions)
        for c, channel in enumerate(channels)
    }
    save(root, {f"{position}_{channel}.tif": pixels for (position, channel), pixels in images.items()})
    rename = {channel: channel.upper() for channel in channels}
    result = do_import(Workspace.create(root / "ws"), root, channels=rename, version=version)
    dataset = open_dataset(result.dataset)
    assert dataset.channels == result.channels == tuple(rename.values())
    assert tuple(dataset.positions) == result.positions == tuple(f"0/0/p{p}" for p in range(positions))
    for (position, channel), pixels in images.items():
        np.testing.assert_array_equal(dataset.position(f"0/0/{position}").read([channel.upper()])[0, 0], pixels)


def test_wells_times_and_slices_find_their_place(workspace, source):
    images = {
        f"{well}/s{site}_t{t}_z{z}_{channel}.tif": picture(hash((well, site, t, z, channel)) % 1000, (6, 5))
        for well in ("B03", "C11") for site in (1, 2) for t in (1, 5) for z in (0, 1, 10) for channel in ("a", "b")
    }  # fmt: skip
    save(source, images)
    result = do_import(workspace, source, pattern="{row}{column}/s{position}_t{t}_z{z}_{channel}.tif")
    assert result.positions == ("B/03/1", "B/03/2", "C/11/1", "C/11/2")
    position = open_dataset(result.dataset).position("C/11/2")
    assert position.shape == (2, 2, 3, 6, 5)
    np.testing.assert_array_equal(position.read(["b"], t=1)[0, 2], images["C11/s2_t5_z10_b.tif"])


def test_stacks_in_one_file_keep_their_axes_names_and_voxel_size(workspace, source):
    pixels = picture(0, (2, 3, 2, 8, 9))
    metadata = {
        "axes": "TZCYX", "Channel": {"Name": ["Phase", "GFP"]}, "PhysicalSizeZ": 1500, "PhysicalSizeZUnit": "nm",
        "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm",
    }  # fmt: skip
    tifffile.imwrite(source / "one.ome.tif", pixels, metadata=metadata)
    result = do_import(workspace, source, pattern="{position}.ome.tif")
    position = open_dataset(result.dataset).position(result.positions[0])
    assert position.channels == ("GFP", "Phase")
    assert position.spacing_um == pytest.approx((1.5, 0.5, 0.25))
    for t in range(2):
        np.testing.assert_array_equal(position.read(["Phase", "GFP"], t=t), pixels[t].swapaxes(0, 1))


def test_imagej_files_bring_their_voxel_size(workspace, source):
    tifffile.imwrite(
        source / "a.tif", picture(0, (3, 8, 9)), imagej=True, resolution=(4, 2),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 0.7},
    )  # fmt: skip
    result = do_import(workspace, source, pattern="{position}.tif")
    assert open_dataset(result.dataset).position("0/0/a").spacing_um == pytest.approx((0.7, 0.5, 0.25))
    assert result.channels == ("Channel 0",)


def test_two_stains_may_become_one_channel_and_other_files_are_left_out(workspace, source):
    save(source, {f"{n}.tif": picture(i) for i, n in enumerate(("a_phase", "a_fitc", "b_phase", "b_cfp", "b_mask"))})
    result = do_import(workspace, source, channels={"phase": "Phase", "fitc": "Stain", "cfp": "Stain"})
    dataset = open_dataset(result.dataset)
    assert dataset.channels == ("Phase", "Stain")
    np.testing.assert_array_equal(dataset.position("0/0/b").read(["Stain"])[0, 0], picture(3))


def test_names_that_letters_and_digits_do_not_tell_apart_are_numbered(workspace, source):
    save(source, {"a-1_x.tif": picture(0), "a1_x.tif": picture(1)})
    result = do_import(workspace, source)
    assert result.positions == ("0/0/0", "0/0/1")
    dataset = open_dataset(result.dataset)
    seeds = {"a-1": 0, "a1": 1}
    for position in dataset.positions.values():
        name = recorded(position, "import")["position"]
        np.testing.assert_array_equal(position.read(["x"])[0, 0], picture(seeds.pop(name)))
    assert not seeds


def test_settings_are_saved_beside_the_dataset_and_replay_it(workspace, source):
    save(source, {"a_x.tif": picture(0)})
    result = do_import(workspace, source, spacing_um=(1, 0.2, 0.2))
    settings = ImportSettings.load(result.config, overrides=["name=again"])
    again = run_import(settings, workspace, Progress())
    assert open_dataset(again.dataset).position("0/0/a").spacing_um == (1, 0.2, 0.2)
    assert workspace.dataset_names() == sorted([result.dataset.stem, again.dataset.stem])


@settings(max_examples=15)
@given(shift=st.tuples(st.integers(-6, 6), st.integers(-6, 6)), inverted=st.booleans())
def test_channels_are_registered_exactly_and_cropped_alike(tmp_path_factory, shift, inverted):
    root = tmp_path_factory.mktemp("register")
    dy, dx = shift
    for number, scene in enumerate((structures(1), structures(2))):
        stain = np.roll(scene, shift if number == 0 else (0, 0), (0, 1))
        save(root, {
            f"p{number}_phase.tif": scene[8:-8, 8:-8].astype("float32"),
            f"p{number}_stain.tif": (1e4 - stain if inverted else stain)[8:-8, 8:-8].astype("float32"),
        })  # fmt: skip
    result = do_import(
        Workspace.create(root / "ws"), root, register_to="phase", register_limit_px=8, spacing_um=(1, 0.5, 0.5)
    )
    assert result.shifts_px["0/0/p0"]["stain"] == shift
    assert result.shifts_px["0/0/p1"]["stain"] == (0, 0)
    dataset = open_dataset(result.dataset)
    for key in result.positions:
        position = dataset.position(key)
        phase, stain = position.read(["phase", "stain"])[:, 0]
        assert position.shape == (1, 2, 1, 144 - abs(dy), 134 - abs(dx))
        assert position.translation_um == (0, 0.5 * max(0, -dy), 0.5 * max(0, -dx))
        np.testing.assert_allclose(phase, 1e4 - stain if inverted else stain, atol=1e-2)
    note = recorded(dataset.position("0/0/p0"), "import")["registration"]
    assert note["channels"]["stain"]["shift_px"] == list(shift)
    assert abs(note["channels"]["stain"]["correlation"]) > 0.9


def test_a_position_with_nothing_in_common_takes_the_others_shift(workspace, source):
    for number in range(3):
        scene = structures(number)
        save(source, {f"p{number}_a.tif": scene, f"p{number}_b.tif": np.roll(scene, (2, -1), (0, 1))})
    save(source, {"p3_a.tif": structures(7), "p3_b.tif": np.full((160, 150), 5.0)})
    result = do_import(workspace, source, register_to="a", register_limit_px=6)
    assert result.shifts_px["0/0/p3"]["b"] == (2, -1)
    note = recorded(open_dataset(result.dataset).position("0/0/p3"), "import")
    assert note["registration"]["channels"]["b"]["found_here"] is False


def test_channels_that_match_nowhere_are_not_registered_silently(workspace, source):
    save(source, {"p_a.tif": structures(0), "p_b.tif": np.full((160, 150), 5.0)})
    assert "channel 'b': matches a nowhere within 6 px" in refused(
        workspace, source, register_to="a", register_limit_px=6
    )


def test_a_position_that_cannot_be_used_is_named_and_the_others_are_imported(workspace, source):
    save(source, {f"p{n}_{channel}.tif": picture(n) for n in range(4) for channel in "ab"})
    (source / "p1_b.tif").unlink()
    (source / "p2_a.tif").write_text("no image")
    save(source, {"p3_b.tif": picture(0, (5, 6))})
    result = do_import(workspace, source)
    assert result.positions == ("0/0/p0",)
    said = {left_out.position: left_out.reason for left_out in result.left_out}
    assert said["p1"] == "has no file for channel b"
    assert said["p2"].startswith("cannot be used: file") and "p2_a.tif is no TIFF that can be read" in said["p2"]
    assert said["p3"].startswith("b is 5 × 6 px in p3_b.tif, but a is 96 × 80 px")


def test_a_position_that_cannot_be_used_is_refused_when_asked_for(workspace, source):
    save(source, {"p0_a.tif": picture(0), "p0_b.tif": picture(0), "p1_a.tif": picture(0)})
    assert "position 'p1': has no file for channel b" in refused(workspace, source, strict=True)


def test_shapes_that_differ_are_named(workspace, source):
    save(source, {"p_a.tif": picture(0, (8, 9)), "p_b.tif": picture(0, (8, 10))})
    assert "b is 8 × 10 px in p_b.tif, but a is 8 × 9 px in p_a.tif" in refused(workspace, source)


def test_positions_may_differ_in_shape(workspace, source):
    save(source, {"p_a.tif": picture(0, (8, 9)), "q_a.tif": picture(0, (3, 7))})
    dataset = open_dataset(do_import(workspace, source).dataset)
    assert [position.shape[3:] for position in dataset.positions.values()] == [(8, 9), (3, 7)]


def test_a_missing_slice_and_a_slice_given_twice_are_named(workspace, source):
    save(source, {"p_z0.tif": picture(0), "p_z1.tif": picture(0), "q_z0.tif": picture(0)})
    text = refused(workspace, source, pattern="*_z{z}.tif")
    assert "has two files for channel" in text and "p_z0.tif and q_z0.tif" in text
    save(source, {"r_t0_z0.tif": picture(0), "r_t0_z1.tif": picture(0), "r_t1_z0.tif": picture(0)})
    assert "has no file for channel Channel 0 at t 1, z 1" in refused(workspace, source, pattern="r_t{t}_z{z}.tif")


def test_what_is_no_tiff_or_no_grey_image_is_named(workspace, source):
    (source / "p_a.tif").write_text("not an image")
    assert "p_a.tif': is no TIFF that can be read" in refused(workspace, source)
    tifffile.imwrite(source / "p_a.tif", picture(0, (64, 64)))
    whole = (source / "p_a.tif").read_bytes()
    (source / "p_a.tif").write_bytes(whole[: len(whole) // 3])
    assert "p_a.tif': is cut short: it has" in refused(workspace, source)
    tifffile.imwrite(source / "p_a.tif", picture(0, (20, 20, 3), "uint8"), photometric="rgb")
    assert "is a colour image; split its channels" in refused(workspace, source)


def test_a_channel_in_the_name_and_in_the_file_is_refused(workspace, source):
    tifffile.imwrite(source / "p_a.tif", picture(0, (2, 8, 9)), imagej=True, metadata={"axes": "CYX"})
    assert "holds 2 channels, but the pattern takes the channel from the name" in refused(workspace, source)


def test_registering_to_a_channel_that_is_not_there_is_refused(workspace, source):
    save(source, {"p_a.tif": picture(0)})
    assert "'c': is not imported; there are a" in refused(workspace, source, SettingsError, register_to="c")


def test_a_full_disk_leaves_nothing(small_disk, source):
    workspace = Workspace.create(small_disk / "ws")
    save(source, {f"p{n}_a.tif": np.random.default_rng(n).integers(0, 65535, (600, 600), "uint16") for n in range(3)})
    assert "the disk is full; free some space" in refused(workspace, source, StorageError)


def test_nothing_is_being_written_any_more_once_a_full_disk_is_said(workspace, source, monkeypatch):
    put, turns, under_way = _local._put, itertools.count(), set()

    def slow(path, *rest, **options):
        if "/c/" not in path.as_posix():
            return put(path, *rest, **options)
        if not next(turns):
            raise OSError(errno.ENOSPC, "No space left on device")
        under_way.add(path)
        time.sleep(0.3)  # a slow disk
        under_way.remove(path)
        return put(path, *rest, **options)

    monkeypatch.setattr(_local, "_put", slow)
    save(source, {"p0_a.tif": picture(0, (1100, 1100))})
    assert "the disk is full" in refused(workspace, source, StorageError)
    assert next(turns) > 1
    assert not under_way


def test_a_dataset_that_is_still_being_imported_is_not_listed(workspace, source):
    save(source, {f"p{n}_a.tif": picture(n) for n in range(2)})
    progress, listed = Progress(), []

    class Look:
        def reported(self, report):
            listed.append((report.phase, workspace.dataset_names(), len(list(workspace.datasets.iterdir()))))

        def produced(self, item): ...

    progress._sink = Look()
    result = do_import(workspace, source, progress)
    assert ("Importing", [], 1) in listed
    assert workspace.dataset_names() == [result.dataset.stem]


def test_a_stop_leaves_nothing(workspace, source):
    save(source, {f"p{n}_a.tif": picture(n, (5, 96, 80)) for n in range(3)})
    progress, seen = Progress(), []

    class StopInSecond:
        def reported(self, report):
            seen.append((report.done, report.total, report.unit))
            if report.phase == "Importing" and report.done == 7:
                progress.token.cancel()

        def produced(self, item):
            raise AssertionError(item)

    progress._sink = StopInSecond()
    with pytest.raises(Cancelled):
        do_import(workspace, source, progress)
    assert seen[-1] == (7, 15, "planes")
    assert list(workspace.datasets.iterdir()) == []


def test_nan_pixels_pass_through(workspace, source):
    pixels = picture(0, dtype="float32")
    pixels[3, 4] = np.nan
    save(source, {"p_a.tif": pixels})
    found = open_dataset(do_import(workspace, source).dataset).position("0/0/p").read(["a"])[0, 0]
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.real_data
def test_real_bacteria_are_registered_as_measured(workspace, real_data):
    folder = real_data / "ecoli_phase_fluorescence"
    names = {"phase": "Phase", "fitc": "Stain", "cfp": "Stain"}
    coli = do_import(workspace, folder, pattern="ecoli_HG105_{position}_{channel}.tif", name="ecoli", channels=names,
                     register_to="Phase")  # fmt: skip
    found = [coli.shifts_px[f"0/0/{n}"]["Stain"] for n in range(9)]
    assert found == [(2, 0), (2, 0), (2, 0), (1, 0), (2, 0), (2, 0), (2, 0), (2, 0), (2, 0)]
    subtilis = do_import(workspace, folder, pattern="bsub_{position}_{channel}.tif", name="bsub", channels=names,
                         register_to="Phase")  # fmt: skip
    assert subtilis.shifts_px == {"0/0/100x": {"Phase": (0, 0), "Stain": (-1, 1)}}
    position = open_dataset(coli.dataset).position("0/0/3")
    assert position.shape == (1, 2, 1, 1038, 1392)
    phase, stain = (tifffile.imread(folder / f"ecoli_HG105_3_{name}.tif") for name in ("phase", "fitc"))
    np.testing.assert_array_equal(position.read(["Phase", "Stain"])[:, 0], [phase[:-2], stain[1:-1]])
    both = do_import(workspace, folder, pattern=PATTERN, name="both", channels=names)
    assert len(both.positions) == 10


@pytest.mark.real_data
def test_real_ome_tiff_keeps_its_channels(workspace, real_data):
    result = do_import(workspace, real_data / "ometiff_viv", pattern="multi-channel.ome.tif")
    pixels = tifffile.imread(real_data / "ometiff_viv" / "multi-channel.ome.tif")
    dataset = open_dataset(result.dataset)
    np.testing.assert_array_equal(dataset.position("0/0/0").read(dataset.channels)[:, 0], pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_list_of_a_plate_is_written_once_and_the_store_is_as_if_added_one_by_one(
    workspace, source, monkeypatch, version
):
    images = {f"{row}{n}_{c}.tif": picture(n) for row in "BA" for n in (2, 1) for c in ("ph", "nuc")}
    save(source, images | {"B2_nuc.tif": np.zeros((96, 80), "uint16")})
    wanted = {"pattern": "{row}{column}_{channel}.tif", "version": version}
    written = []
    with monkeypatch.context() as counting:
        write_plate = PlateWriter.write_plate
        counting.setattr(PlateWriter, "write_plate", lambda self: written.append(1) or write_plate(self))
        result = do_import(workspace, source, **wanted)
    assert len(written) == 2  # of no position, so that there is a plate, and of all
    monkeypatch.setattr(PlateWriter, "add_positions", one_by_one)
    other = do_import(Workspace.create(workspace.root / "other"), source, **wanted)
    assert content_of(other.dataset) == content_of(result.dataset)


def one_by_one(plate, positions):
    for one in positions:
        plate.add_position(one.key, one.shape, one.dtype, one.spacing_um, one.translation_um)


def content_of(store):
    """Return the content of each file, the mark aside that each import draws."""
    files = [path for path in store.rglob("*") if path.is_file()]
    return {path.relative_to(store): re.sub(rb'"token": "\w*"', b"", path.read_bytes()) for path in files}
