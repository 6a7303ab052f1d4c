"""A workspace is four folders, validated when it is made and when it is opened."""

import os
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import WorkspaceError
from napari_vstain.core.workspace import Workspace, dated


def test_create_then_open_is_the_same(tmp_path):
    made = Workspace.create(tmp_path / "vs")
    assert Workspace.open(tmp_path / "vs") == made
    assert sorted(path.name for path in made.root.iterdir()) == ["datasets", "deployment", "evaluation", "models"]


def test_create_keeps_what_is_there(tmp_path):
    Workspace.create(tmp_path).datasets.joinpath("notes.txt").write_text("mine")
    assert Workspace.create(tmp_path).datasets.joinpath("notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "make", [lambda p: p.write_text(""), lambda p: (p.mkdir(), (p / "zarr.json").write_text("{}"))]
)
def test_a_file_or_a_zarr_is_refused(tmp_path, make):
    make(tmp_path / "thing")
    for method in (Workspace.create, Workspace.open):
        with pytest.raises(WorkspaceError, match="thing"):
            method(tmp_path / "thing")


def test_open_names_the_missing_folder(tmp_path):
    Workspace.create(tmp_path).datasets.rmdir()
    with pytest.raises(WorkspaceError, match="no folder datasets; make one with `vstain new"):
        Workspace.open(tmp_path)


def test_datasets_are_found_with_and_without_their_date(tmp_path):
    workspace = Workspace.create(tmp_path)
    workspace.new_dataset("hek", on=date(2026, 11, 21)).mkdir()
    assert workspace.dataset_names() == ["2026_21_11_hek"]
    assert workspace.dataset("hek") == workspace.dataset("2026_21_11_hek")
    with pytest.raises(WorkspaceError, match="'cos7': the workspace has 2026_21_11_hek"):
        workspace.dataset("cos7")


def test_two_datasets_of_one_name_need_their_date(tmp_path):
    workspace = Workspace.create(tmp_path)
    for day in (1, 2):
        workspace.new_dataset("hek", on=date(2026, 11, day)).mkdir()
    with pytest.raises(WorkspaceError, match="2026_01_11_hek, 2026_02_11_hek"):
        workspace.dataset("hek")


def test_a_linked_dataset_stays_where_it_is(tmp_path):
    store = tmp_path / "facility" / "plate 7.zarr"
    store.mkdir(parents=True)
    workspace = Workspace.create(tmp_path / "vs")
    name = workspace.link_dataset(store)
    assert name == workspace.link_dataset(store) == "plate_7"
    assert workspace.dataset(name) == store
    store.rmdir()
    with pytest.raises(WorkspaceError, match="which is not there"):
        workspace.dataset(name)


def test_runs_are_numbered_and_tied_to_their_configuration(tmp_path):
    experiment = Workspace.create(tmp_path).experiment("nuclei")
    first, second = experiment.new_run(), experiment.new_run()
    assert (first.number, second.number) == (0, 1)
    assert second.config.name == "training_config1.yml"
    with pytest.raises(WorkspaceError, match="nuclei/version_1': has no checkpoint; train again"):
        experiment.run()
    for run in (first, second):
        run.checkpoints.mkdir()
        (run.checkpoints / "last.ckpt").touch()
        assert experiment.run() == run
    second.last.unlink()
    assert experiment.run("version_0") == experiment.run("0") == first
    with pytest.raises(WorkspaceError, match="has no checkpoint"):
        second.checkpoint  # noqa: B018
    with pytest.raises(WorkspaceError, match="'9': the experiment has version_0, version_1"):
        experiment.run("9")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", ".hidden", "a:b"])
def test_names_that_are_no_folder_names_are_refused(tmp_path, name):
    with pytest.raises(WorkspaceError, match="may hold letters"):
        Workspace.create(tmp_path).experiment(name)


@given(days=st.lists(st.dates(date(2000, 1, 1), date(2099, 12, 31)), min_size=1, max_size=8, unique=True))
def test_the_newest_dataset_is_of_the_latest_day_whatever_the_order_of_names(tmp_path_factory, days):
    workspace = Workspace.create(tmp_path_factory.mktemp("study"))
    for day in days:
        workspace.new_dataset("cells", on=day).mkdir()
    assert workspace.newest_dataset() == dated("cells", max(days))


def test_of_one_day_the_newest_dataset_is_the_last_one_made(tmp_path):
    workspace = Workspace.create(tmp_path / "study")
    assert workspace.newest_dataset() == ""
    for age, name in enumerate(("a", "c", "b")):
        store = workspace.new_dataset(name, on=date(2026, 11, 21))
        store.mkdir()
        (store / "zarr.json").touch()
        for path in (store / "zarr.json", store):
            os.utime(path, (1e9 - age, 1e9 - age))
    assert workspace.newest_dataset() == dated("a", date(2026, 11, 21))
    (workspace.dataset("b") / "statistics").touch()  # what is written later makes a dataset no newer
    assert workspace.newest_dataset() == dated("a", date(2026, 11, 21))


def test_a_link_that_is_there_is_left_as_it_is(tmp_path):
    workspace = Workspace.create(tmp_path / "study")
    (tmp_path / "plate.zarr").mkdir()
    link = workspace.datasets / f"{workspace.link_dataset(tmp_path / 'plate.zarr')}.link"
    os.utime(link, (1e9, 1e9))
    workspace.link_dataset(tmp_path / "plate.zarr")
    assert link.stat().st_mtime == 1e9
