"""Which model the Predict dock shows when it opens: the one that was used last here, else the newest."""

import shutil

import pytest

from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.session import Opened, model_at, recall_model, remember_model
from napari_vstain.widgets.predict import PredictSection

PATIENCE_MS = 30_000


@pytest.fixture
def dock(desk, qtbot):
    """Open a new section as often as it is called; the desk's session is as new as one after a restart."""
    kept = []  # a widget that nobody holds is gone

    def opened():
        kept.append(PredictSection(desk))
        qtbot.addWidget(kept[-1])
        return kept[-1]

    return opened


def new_run(workspace, checkpoint):
    run = workspace.experiment("first").new_run()
    run.checkpoints.mkdir()
    shutil.copy(checkpoint, run.checkpoints / "best.ckpt")
    return run


@pytest.fixture
def runs(workspace, checkpoint):
    """Two runs, the newest last."""
    import os

    made = [new_run(workspace, checkpoint) for _ in range(2)]
    for age, run in enumerate(reversed(made)):
        os.utime(run.checkpoint, (1e9 - age, 1e9 - age))
    return made


def chosen(desk, qtbot):
    qtbot.waitUntil(lambda: desk.session.model is not None, timeout=PATIENCE_MS)
    return desk.session.model


def quiet(desk, qtbot):
    """Wait until the session has nothing to do, and everything is shown."""
    qtbot.waitUntil(lambda: not desk.session.jobs and not desk.pump._hearings, timeout=PATIENCE_MS)


def test_a_file_that_was_chosen_is_preselected_in_the_next_session(dock, desk, qtbot, checkpoint):
    dock().use_file(checkpoint)
    chosen(desk, qtbot)
    quiet(desk, qtbot)
    assert recall_model(None).path == checkpoint
    desk.session.choose_model(None)
    again = dock()
    assert chosen(desk, qtbot).path == checkpoint
    assert again.chooser.models.currentText() == checkpoint.name
    assert desk.session.preselected


def test_the_run_that_was_used_last_is_preselected_in_its_workspace_and_not_the_newest(
    dock, desk, qtbot, workspace, runs
):
    section = dock()
    remember_model(model_at(runs[0].checkpoint, runs[0]), workspace)
    desk.session.adopt(Opened(workspace, None))
    assert chosen(desk, qtbot).run == runs[0]
    assert section.chooser.models.currentText() == "first/version_0"
    assert section.chooser.models.count() == 2


def test_without_one_the_newest_run_is_preselected_but_not_remembered(dock, desk, qtbot, workspace, runs):
    dock()
    desk.session.adopt(Opened(workspace, None))
    assert chosen(desk, qtbot).run == runs[1]
    quiet(desk, qtbot)
    assert recall_model(workspace) is None


def test_a_preselected_model_is_remembered_once_it_predicts(dock, desk, qtbot, workspace, runs, field):
    section = dock()
    desk.session.adopt(Opened(workspace, None))
    chosen(desk, qtbot)
    desk.viewer.add_image(field, name="Phase")
    section.start("field")
    quiet(desk, qtbot)
    assert recall_model(workspace).run == runs[1]


def test_a_model_that_the_user_chose_stays_when_a_workspace_opens(dock, desk, qtbot, workspace, runs, checkpoint):
    remember_model(model_at(runs[0].checkpoint, runs[0]), workspace)
    dock().use_file(checkpoint)
    chosen(desk, qtbot)
    desk.session.adopt(Opened(workspace, None))
    quiet(desk, qtbot)
    assert desk.session.model.path == checkpoint


def test_a_preselected_model_gives_way_to_the_one_of_the_workspace_that_opens(
    dock, desk, qtbot, workspace, runs, checkpoint
):
    remember_model(model_at(checkpoint), None)
    remember_model(model_at(runs[0].checkpoint, runs[0]), workspace)
    dock()
    assert chosen(desk, qtbot).path == checkpoint
    desk.session.adopt(Opened(workspace, None))
    qtbot.waitUntil(lambda: desk.session.model.run == runs[0], timeout=PATIENCE_MS)


def test_a_second_dock_leaves_the_chosen_run_alone(dock, desk, qtbot, workspace, runs):
    section = dock()
    desk.session.adopt(Opened(workspace, None))
    chosen(desk, qtbot)
    section.chooser.models.activated.emit(1)
    qtbot.waitUntil(lambda: desk.session.model.run == runs[0], timeout=PATIENCE_MS)
    quiet(desk, qtbot)
    dock()
    quiet(desk, qtbot)
    assert desk.session.model.run == runs[0]


def test_a_run_that_was_trained_just_now_is_chosen(dock, desk, qtbot, workspace, runs, checkpoint):
    section = dock()
    desk.session.adopt(Opened(workspace, None))
    chosen(desk, qtbot)
    section.chooser.models.activated.emit(1)
    qtbot.waitUntil(lambda: desk.session.model.run == runs[0], timeout=PATIENCE_MS)
    desk.session.runs_changed.emit()  # a training that left nothing
    quiet(desk, qtbot)
    assert desk.session.model.run == runs[0]
    made = new_run(workspace, checkpoint)
    desk.session.runs_changed.emit()
    qtbot.waitUntil(lambda: desk.session.model.run == made, timeout=PATIENCE_MS)
    quiet(desk, qtbot)
    assert recall_model(workspace).run == made


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_run_that_was_trained_takes_the_place_of_a_file_that_nobody_chose(
    dock, desk, qtbot, workspace, checkpoint, by_hand
):
    remember_model(model_at(checkpoint), None)
    section = dock()
    chosen(desk, qtbot)
    if by_hand:
        section.use_file(checkpoint)
        qtbot.waitUntil(lambda: not desk.session.preselected, timeout=PATIENCE_MS)
    desk.session.adopt(Opened(workspace, None))
    quiet(desk, qtbot)
    made = new_run(workspace, checkpoint)
    desk.session.runs_changed.emit()
    quiet(desk, qtbot)
    assert desk.session.model.run == (None if by_hand else made)


def test_a_model_that_is_gone_is_not_spoken_of(dock, desk, qtbot, checkpoint, tmp_path):
    gone = shutil.copy(checkpoint, tmp_path / "gone.ckpt")
    remember_model(model_at(gone), None)
    gone.unlink()
    section = dock()
    quiet(desk, qtbot)
    assert desk.session.model is None
    assert section.problem.isHidden()


def test_what_was_said_of_a_third_party_model_is_not_asked_again(dock, desk, qtbot, theirs):
    said = ModelNotes(sources=("Phase",), targets=("Nuclei",))
    remember_model(model_at(theirs, notes=said), None)
    section = dock()
    assert chosen(desk, qtbot).notes == said
    section.chooser.models.activated.emit(0)
    quiet(desk, qtbot)
    assert section.chooser.third_party.isHidden()
    assert section.problem.isHidden()
