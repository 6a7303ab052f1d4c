"""Attributes: whole keys, in the store where it is ours, else in the workspace's sidecar; never half-written."""

import json
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.data import create_plate, open_dataset, record, recorded
from napari_vstain.core.errors import StorageError
from napari_vstain.core.workspace import Workspace

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def plate(path, version="0.5", keys=("A/1/0", "A/1/1")):
    with create_plate(path, ["a"], version=version) as writer:
        for key in keys:
            writer.add_position(key, (1, 1, 1, 4, 4), "u1")[:] = np.arange(16, dtype="u1").reshape(1, 1, 1, 4, 4)
    return path


def freeze(path):
    for folder in (path, *path.rglob("*")):
        folder.chmod(folder.stat().st_mode & ~0o222)


def thaw(path):
    for folder in (path, *path.rglob("*")):
        folder.chmod(folder.stat().st_mode | 0o200)


def tree(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@settings(max_examples=25)
@given(value=values)
def test_set_then_get_is_the_identity_and_all_else_stays(tmp_path_factory, version, value):
    path = plate(tmp_path_factory.mktemp("store") / "p.zarr", version)
    before = open_dataset(path).position("A/1/0")
    metadata = before.metadata
    before.set_attribute("mine", 1)
    before.set_attribute("note", value)
    after = open_dataset(path).position("A/1/0")
    assert (after.attribute("note"), after.attribute("mine"), after.metadata) == (value, 1, metadata)
    assert zarr.open_group(path / "A/1/0", mode="r").attrs["note"] == value
    assert open_dataset(path).attribute("note") is None


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_store_elsewhere_is_not_touched_when_there_is_a_workspace(tmp_path, version):
    path = plate(tmp_path / "facility" / "p.zarr", version)
    workspace = Workspace.create(tmp_path / "ws")
    before = tree(path)
    dataset = open_dataset(path, workspace)
    dataset.set_attribute("note", "whole")
    dataset.position("A/1/1").set_attribute("note", "one")
    again = open_dataset(path, workspace)
    found = (
        again.attribute("note"),
        again.position("A/1/0").attribute("note"),
        again.position("A/1/1").attribute("note"),
    )
    assert found == ("whole", None, "one")
    assert tree(path) == before
    assert open_dataset(path / "A/1/1", workspace).position("0/0/0").attribute("note") == "one"
    assert open_dataset(path).attribute("note") is None


def test_a_store_in_the_workspace_is_written_itself(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    path = plate(workspace.datasets / "p.zarr")
    open_dataset(path, workspace).set_attribute("note", 1)
    assert open_dataset(path).attribute("note") == 1
    assert not workspace.sidecar(path).exists()


def test_a_read_only_store_without_a_workspace_says_what_to_do(tmp_path):
    path = plate(tmp_path / "p.zarr")
    freeze(path)
    try:
        with pytest.raises(StorageError, match="you may not write there; open it with a workspace"):
            open_dataset(path).position("A/1/0").set_attribute("note", 1)
    finally:
        thaw(path)
    assert open_dataset(path).position("A/1/0").attribute("note") is None


def test_two_stores_of_one_name_do_not_share_a_sidecar(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    first, second = (plate(tmp_path / name / "p.zarr") for name in "ab")
    open_dataset(first, workspace).set_attribute("note", 1)
    assert open_dataset(second, workspace).attribute("note") is None
    with pytest.raises(StorageError, match="already keeps notes on"):
        open_dataset(second, workspace).set_attribute("note", 2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")  # zarr, of its own format 3
def test_consolidated_metadata_never_shows_an_old_value(tmp_path, version):
    path = plate(tmp_path / "p.zarr", version)
    open_dataset(path).position("A/1/0").set_attribute("note", "old")
    zarr.consolidate_metadata(path)
    open_dataset(path).position("A/1/0").set_attribute("note", "new")
    open_dataset(path).set_attribute("note", "root")
    group = zarr.open_group(path, mode="r", use_consolidated=True)
    assert group["A/1/0"].attrs["note"] == "new"
    assert group.attrs["note"] == "root"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_full_disk_leaves_the_old_value(small_disk, version):
    path = plate(small_disk / "p.zarr", version)
    position = open_dataset(path).position("A/1/0")
    position.set_attribute("note", "old")
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        position.set_attribute("note", "x" * 2_000_000)
    assert open_dataset(path).position("A/1/0").attribute("note") == "old"


def test_record_keeps_what_else_is_ours(tmp_path):
    position = open_dataset(plate(tmp_path / "p.zarr")).position("A/1/0")
    record(position, first={"a": 1})
    record(position, second=2)
    assert (recorded(position, "first"), recorded(position, "second"), recorded(position, "third")) == (
        {"a": 1},
        2,
        None,
    )
    assert json.loads((position.folder / "zarr.json").read_text())["attributes"]["vstain"]["schema_version"] == 1


_CHANGE = """
import sys
from pathlib import Path
from napari_vstain.core.data import open_dataset, record
from napari_vstain.core.workspace import Workspace
path, workspace, name = sys.argv[1:]
dataset = open_dataset(path, Workspace.open(workspace) if workspace else None)
for number in range(10):
    record(dataset, **{f"{name}{number}": number})
    record(dataset.position("A/1/0"), **{f"{name}{number}": number})
    dataset.position("A/1/1").set_attribute(f"{name}{number}", number)
"""


@pytest.mark.parametrize("where", ["0.4", "0.5", "elsewhere"])
def test_processes_that_change_one_store_lose_nothing(tmp_path, where):
    path = plate(tmp_path / "data" / "p.zarr", "0.4" if where == "0.4" else "0.5")
    with pytest.warns() if where != "0.4" else nullcontext():  # zarr 3 may not have it, and peers write it
        zarr.consolidate_metadata(path)
    study = str(Workspace.create(tmp_path / "study").root) if where == "elsewhere" else ""
    children = [subprocess.Popen([sys.executable, "-c", _CHANGE, path, study, name]) for name in "abcd"]
    assert [child.wait(120) for child in children] == [0] * 4
    expected = {f"{name}{number}": number for name in "abcd" for number in range(10)}
    dataset = open_dataset(path, Workspace.open(study) if study else None)
    for node in (dataset, dataset.position("A/1/0")):
        assert {key: recorded(node, key) for key in expected} == expected
    assert {key: dataset.position("A/1/1").attribute(key) for key in expected} == expected
    if not study:
        assert {key: zarr.open_group(path, mode="r")["A/1/1"].attrs[key] for key in expected} == expected
    assert not [found for found in tmp_path.rglob(".*") if found.suffix in (".lock", ".partial")]
