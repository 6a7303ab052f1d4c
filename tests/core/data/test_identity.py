"""An input is known by its pixels: wherever it lies it is the same, and whatever changes in it is noticed."""

import os
import shutil
import time

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.data import create_plate, open_dataset
from napari_vstain.core.data.identity import SETTLED_S, Identity, as_record, identify, is_still, token_in
from napari_vstain.core.data.importing import ImportSettings, run_import
from napari_vstain.core.progress import Progress
from napari_vstain.core.simulation import simulate_plate
from napari_vstain.core.workspace import Workspace

digests = st.sampled_from(["", "a", "b"])
identities = st.builds(Identity, digests, st.sampled_from(["a", "b"]), digests, digests)


@given(identities, identities, st.sampled_from(["a", "b"]))
def test_what_has_the_same_bytes_is_the_same_and_what_has_other_bytes_never_without_a_sign(known, now, content):
    asked = []

    def read():
        asked.append(1)
        return content

    same = known.is_still(now, read)
    if known.layout != now.layout:
        assert not same
        assert not asked
    elif known.times and (known.token, known.times) == (now.token, now.times):
        assert same
        assert not asked
    else:
        assert same is (known.content == content)


@given(identities)
def test_an_identity_is_stored_and_read(identity):
    assert Identity.parse(as_record(identity)) == identity
    assert Identity.parse({"other": 1}) is None
    assert Identity.parse(None) is None


def write(path, values, version="0.5"):
    with create_plate(path, ["Phase", "Nuclei"], version=version) as plate:
        for key, value in values.items():
            pixels = np.full((1, 2, 1, 40, 56), value, np.uint16) + np.arange(56, dtype=np.uint16)
            plate.add_position(key, pixels.shape, pixels.dtype, (1, 0.5, 0.5), chunks=(1, 1, 1, 32, 32))[:] = pixels
    return path


def settle(path):
    """Let all files of a store be older than what may still change unseen."""
    then = time.time() - 10 * SETTLED_S
    for folder, _, files in os.walk(path):
        for name in files:
            os.utime(os.path.join(folder, name), (then, then))


def known_of(path, key="A/1/0", channels=("Phase",)):
    return identify(open_dataset(path).position(key), channels, content=True)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_store_that_is_moved_copied_linked_or_touched_is_the_same(tmp_path, version):
    path = write(tmp_path / "p.zarr", {"A/1/0": 100}, version)
    known = known_of(path)
    (tmp_path / "far").mkdir()
    moved = path.rename(tmp_path / "far" / "moved.zarr")
    copied = shutil.copytree(moved, tmp_path / "copy.zarr", copy_function=shutil.copyfile)
    (tmp_path / "link.zarr").symlink_to(moved)
    settle(moved)
    for where in (moved, copied, tmp_path / "link.zarr", tmp_path / "far" / ".." / "copy.zarr"):
        assert is_still(open_dataset(where).position("A/1/0"), ["Phase"], known), where


@pytest.mark.parametrize("index", [(0, 0, 0, 0, 0), (0, 0, 0, 39, 55)])
def test_one_pixel_that_changed_is_noticed_in_its_channel_and_position_only(tmp_path, index):
    path = write(tmp_path / "p.zarr", {"A/1/0": 100, "B/2/0": 100})
    before = {(key, name): known_of(path, key, [name]) for key in ("A/1/0", "B/2/0") for name in ("Phase", "Nuclei")}
    zarr.open_array(path / "A/1/0/0", mode="r+")[index] += 1
    same = {
        (key, name): is_still(open_dataset(path).position(key), [name], known) for (key, name), known in before.items()
    }
    assert [place for place, still in same.items() if not still] == [("A/1/0", "Phase")]


def test_an_edit_that_keeps_sizes_and_times_is_noticed(tmp_path):
    path = write(tmp_path / "p.zarr", {"A/1/0": 100})
    known = known_of(path)
    chunk = next(file for file in (path / "A/1/0/0").rglob("*") if file.is_file() and file.name == "0")
    times = chunk.stat()
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    os.utime(chunk, ns=(times.st_atime_ns, times.st_mtime_ns))
    channels = ["Phase", "Nuclei"]
    whole = identify(open_dataset(path).position("A/1/0"), channels, content=True)
    assert not is_still(open_dataset(path).position("A/1/0"), channels, Identity("", whole.layout, known.times, "x"))
    assert whole.content != known.content


def test_a_dataset_that_was_made_anew_is_another_one(tmp_path):
    made = [simulate_plate(tmp_path / f"{seed}.zarr", seed=seed, wells=("A/1",), fields=1, size=64) for seed in (1, 2)]
    first, second = map(token_in, made)
    assert first and second and first != second
    known = known_of(made[0])
    assert known.token == first == token_in(made[0] / "A/1/0")
    shutil.rmtree(made[0])
    made[1].rename(made[0])
    assert not is_still(open_dataset(made[0]).position("A/1/0"), ["Phase"], known)


def test_an_import_marks_what_it_makes(tmp_path):
    import tifffile

    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a_Phase.tif", np.arange(64, dtype=np.uint16).reshape(8, 8))
    workspace = Workspace.create(tmp_path / "study")
    settings = ImportSettings(source=tmp_path / "images", name="cells", pattern="{position}_{channel}.tif")
    result = run_import(settings, workspace, Progress())
    (key,) = result.positions
    assert token_in(result.dataset) == token_in(result.dataset / key) != ""


def test_a_settled_store_is_known_without_reading_a_pixel(tmp_path, monkeypatch):
    path = write(tmp_path / "p.zarr", {"A/1/0": 100})
    position = open_dataset(path).position("A/1/0")
    monkeypatch.setattr("napari_vstain.core.data.identity.SETTLED_S", -1.0)
    known = identify(position, ["Phase"], content=True)
    monkeypatch.setattr("napari_vstain.core.data.identity._content", lambda *_: pytest.fail("it was read"))
    assert is_still(open_dataset(path).position("A/1/0"), ["Phase"], known)
