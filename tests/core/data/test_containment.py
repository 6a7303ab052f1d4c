"""What metadata names is inside its store; what is elsewhere is neither read nor written."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.data import create_plate, open_dataset, record, recorded
from napari_vstain.core.data.containment import inside
from napari_vstain.core.errors import DatasetError, StorageError
from napari_vstain.core.preprocessing import PreprocessSettings
from napari_vstain.core.preprocessing import run as preprocess
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

OUT = ["..", "../victim.zarr", "A/../../x", "/etc", "C:\\x", "c:/x", "a\\..\\b", "\\\\host\\x", "a\0b", "out", "out/x"]


def plate(path, value=1):
    with create_plate(path, ["a"], version="0.4") as writer:
        for key in ("A/1/0", "A/2/0"):
            writer.add_position(key, (1, 1, 1, 4, 4), "u1")[:] = np.full((1, 1, 1, 4, 4), value)
    return path


def change(file, function):
    said = json.loads(file.read_text())
    function(said)
    file.write_text(json.dumps(said))


def tree(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("path", OUT)
def test_no_spelling_leads_out(tmp_path, path):
    (tmp_path / "victim.zarr").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "out").symlink_to(tmp_path / "victim.zarr")
    with pytest.raises(DatasetError, match="leads out of it"):
        inside(tmp_path / "store", path)


@given(parts=st.lists(st.sampled_from(["..", ".", "", "a", "b", "~", "\\", "C:", "..."]), max_size=6))
def test_whatever_is_let_through_is_inside(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp() / "root"
    try:
        found = inside(root, "/".join(parts))
    except DatasetError:
        return
    assert found.resolve().is_relative_to(root.resolve()) and found != root


def test_a_link_that_stays_inside_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path, "link").resolve() == tmp_path / "real"


@pytest.mark.parametrize("path", ["../victim.zarr/A/1", "../../victim.zarr/A/1", "{root}/victim.zarr/A/1"])
def test_a_plate_neither_reads_nor_writes_a_well_of_another(tmp_path, path):
    victim, mine = plate(tmp_path / "victim.zarr"), plate(tmp_path / "mine.zarr")
    change(mine / ".zattrs", lambda said: said["plate"]["wells"][0].update(path=path.format(root=tmp_path)))
    before = tree(victim)
    dataset = open_dataset(mine)
    assert list(dataset.positions) == ["A/2/0"]
    assert "leads out of it" in str(next(iter(dataset.unusable.values())))
    for node in (dataset, *dataset.positions.values()):
        record(node, x=1)
    assert tree(victim) == before


def test_neither_fields_nor_levels_lead_out(tmp_path):
    plate(tmp_path / "victim.zarr", 9)
    field, level = plate(tmp_path / "field.zarr"), plate(tmp_path / "level.zarr")
    change(field / "A/1/.zattrs", lambda said: said["well"]["images"][0].update(path="../../../victim.zarr/A/1/0"))
    there = "../../../../victim.zarr/A/1/0/0"
    change(level / "A/1/0/.zattrs", lambda said: said["multiscales"][0]["datasets"][0].update(path=there))
    for path in (field, level):
        dataset = open_dataset(path)
        assert list(dataset.positions) == ["A/2/0"]
        assert "leads out" in next(iter(dataset.unusable.values())).reason


@pytest.mark.parametrize("spelled", ["../facility.zarr", "datasets/linked.zarr", "datasets/../../facility.zarr"])
def test_a_store_elsewhere_is_not_written_however_it_is_spelled(tmp_path, spelled):
    workspace = Workspace.create(tmp_path / "ws")
    facility = plate(tmp_path / "facility.zarr")
    (workspace.datasets / "linked.zarr").symlink_to(facility)
    before = tree(facility)
    dataset = open_dataset(workspace.root / spelled, workspace)
    for node in (dataset, *dataset.positions.values()):
        record(node, x=1)
    assert tree(facility) == before
    assert list(workspace.datasets.glob("*.sidecar"))


def test_notes_on_a_store_are_found_by_each_of_its_spellings(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    plate(tmp_path / "facility.zarr")
    open_dataset(workspace.root / ".." / "facility.zarr", workspace).set_attribute("note", 1)
    assert open_dataset(tmp_path / "facility.zarr", workspace).attribute("note") == 1
    open_dataset(tmp_path / "facility.zarr", workspace).set_attribute("note", 2)
    assert open_dataset(workspace.root / ".." / "facility.zarr", workspace).attribute("note") == 2


def test_a_workspace_reached_by_a_link_still_owns_its_stores(tmp_path):
    real = Workspace.create(tmp_path / "disk" / "ws")
    plate(real.datasets / "p.zarr")
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    workspace = Workspace.open(tmp_path / "home" / "ws")
    open_dataset(real.datasets / "p.zarr", workspace).set_attribute("note", 1)
    assert open_dataset(real.datasets / "p.zarr").attribute("note") == 1


def test_a_store_of_the_workspace_can_be_kept_untouched(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    path = plate(workspace.datasets / "p.zarr")
    before = tree(path)
    dataset = open_dataset(path, workspace)
    dataset.keep_untouched()
    for node in (dataset, *dataset.positions.values()):
        record(node, x=1)
    assert tree(path) == before
    again = open_dataset(path, workspace)
    assert recorded(again, "x") == recorded(again.position("A/2/0"), "x") == 1
    with pytest.raises(StorageError, match="make a workspace first"):
        open_dataset(path).keep_untouched()


def test_preprocessing_keeps_a_store_untouched_on_request(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    path = workspace.datasets / "p.zarr"
    with create_plate(path, ["a"]) as writer:
        pixels = (np.arange(64 * 64) % 200).astype("u1").reshape(1, 1, 1, 64, 64)
        writer.add_position("A/1/0", pixels.shape, "u1")[:] = pixels
    before = tree(path)
    preprocess(PreprocessSettings(dataset="p", untouched=True, grid_spacing_px=1), workspace, Progress())
    assert tree(path) == before
    assert open_dataset(path, workspace).position("A/1/0").attribute("normalization")["a"]["fov_statistics"]
