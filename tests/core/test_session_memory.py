"""The model that was used last is there again in the next session, unless its file is not."""

import os

import pytest

from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.session import Model, Session, recall_model, remember_model
from napari_vstain.core.workspace import Workspace

KNOWN = Statistics(mean=10, std=3, median=9, iqr=4)
SPEC = ModelSpec(
    sources=("Phase",), outputs=(OutputSpec(channels=("Nuclei",)),), halo=(0, 4, 4), statistics={"Phase": KNOWN}
)


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "study")


@pytest.fixture
def file(tmp_path):
    """A file that is no model: whoever reads it as one fails."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def run(workspace):
    made = workspace.experiment("first").new_run()
    made.checkpoints.mkdir()
    (made.checkpoints / "best.ckpt").write_bytes(b"weights")
    return made


@pytest.mark.parametrize("notes", [None, ModelNotes(sources=("Phase",), targets=("Nuclei",), spacing_um=(1, 2, 2))])
def test_a_file_and_what_was_said_of_it_are_recalled_without_reading_its_weights(workspace, file, notes):
    for place in (workspace, None):
        remember_model(Model(file, SPEC, notes=notes), place)
        assert recall_model(place) == Model(file, SPEC, notes=notes)


def test_a_run_is_recalled_as_a_run(workspace, run):
    remember_model(Model(run.checkpoint, SPEC, run), workspace)
    assert recall_model(workspace) == Model(run.checkpoint, SPEC, run)


def test_a_run_of_another_workspace_is_recalled_as_a_file(workspace, run, tmp_path):
    other = Workspace.create(tmp_path / "other")
    other.experiment("first").new_run()
    remember_model(Model(run.checkpoint, SPEC, run), other)
    assert recall_model(other) == Model(run.checkpoint, SPEC)


def test_each_workspace_has_its_own_and_the_last_one_counts(workspace, file, run):
    remember_model(Model(run.checkpoint, SPEC, run), workspace)
    assert recall_model(None) is None
    remember_model(Model(file, SPEC), workspace)
    assert recall_model(workspace).path == file


@pytest.mark.parametrize("spoil", [os.remove, lambda file: file.write_bytes(b"changed, and no model")])
def test_a_file_that_is_gone_or_became_something_else_is_not_recalled(file, spoil):
    remember_model(Model(file, SPEC), None)
    spoil(file)
    assert recall_model(None) is None


def test_a_configuration_that_changed_is_read_again(tmp_path, file):
    config = tmp_path / "config.yml"
    config.write_text("model: {}")
    checkpoint = file.rename(tmp_path / "model.ckpt")
    remember_model(Model(checkpoint, SPEC, notes=ModelNotes(config=config)), None)
    assert recall_model(None).spec == SPEC
    config.unlink()
    assert recall_model(None) is None


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b'{"path": "x", "surprise": 1}'])
def test_what_is_remembered_may_be_damaged(file, tmp_path, monkeypatch, content):
    monkeypatch.setenv("VSTAIN_STATE", str(tmp_path / "state"))
    remember_model(Model(file, SPEC), None)
    (written,) = (tmp_path / "state").rglob("*.json")
    written.write_bytes(content)
    assert recall_model(None) is None


def test_a_home_that_cannot_be_written_breaks_nothing(file, tmp_path, monkeypatch):
    (tmp_path / "state").write_bytes(b"a file, where the folder would be")
    monkeypatch.setenv("VSTAIN_STATE", str(tmp_path / "state"))
    remember_model(Model(file, SPEC), None)
    assert recall_model(None) is None


def test_a_model_that_went_before_it_was_written_down_breaks_nothing(tmp_path):
    remember_model(Model(tmp_path / "gone.onnx", SPEC), None)
    assert recall_model(None) is None


def test_a_session_remembers_in_the_background_what_it_uses(file):
    session = Session()
    session.choose_model(Model(file, SPEC), preselected=True)
    session.remember_model()
    for job in session.jobs:
        assert job.wait(10)
    assert not session.preselected
    assert recall_model(None) == Model(file, SPEC)


def test_only_a_model_that_somebody_chose_stays_and_a_run_only_in_its_workspace(workspace, file, run):
    session = Session()
    assert not session.model_stays
    session.choose_model(Model(file, SPEC), preselected=True)
    assert not session.model_stays
    session.choose_model(Model(file, SPEC))
    assert session.model_stays
    session.choose_model(Model(file, SPEC), preselected=True)  # it was chosen already
    assert session.model_stays
    session.choose_model(Model(run.checkpoint, SPEC, run))
    assert not session.model_stays
    session.workspace = workspace
    assert session.model_stays
