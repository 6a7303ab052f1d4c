"""Which model the Predict dock shows when it opens: the one that was used last here, else the newest."""

import shutil

import pytest

from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.session import Opened, model_at, recall_model, remember_model
from napari_vstain.widgets.docks.predict import PredictSection

PATIENCE_MS = 30_000


@pytest.fixture
def dock(context, qtbot):
    """Open a new section as often as it is called; the context's session is as new as one after a restart."""
    kept = []  # a widget that nobody holds is gone

    def opened():
        kept.append(PredictSection(context))
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


def chosen(context, qtbot):
    qtbot.waitUntil(lambda: context.session.model is not None, timeout=PATIENCE_MS)
    return context.session.model


def quiet(context, qtbot):
    """Wait until the session has nothing to do, and everything is shown."""
    qtbot.waitUntil(lambda: not context.session.jobs and not context.pump._listeners, timeout=PATIENCE_MS)


def test_a_file_that_was_chosen_is_preselected_in_the_next_session(dock, context, qtbot, checkpoint):
    dock().use_file(checkpoint)
    chosen(context, qtbot)
    quiet(context, qtbot)
    assert recall_model(None).path == checkpoint
    context.session.choose_model(None)
    again = dock()
    assert chosen(context, qtbot).path == checkpoint
    assert again.chooser.models.currentText() == checkpoint.name
    assert context.session.preselected


def test_the_run_that_was_used_last_is_preselected_in_its_workspace_and_not_the_newest(
    dock, context, qtbot, workspace, runs
):
    section = dock()
    remember_model(model_at(runs[0].checkpoint, runs[0]), workspace)
    context.session.adopt(Opened(workspace, None))
    assert chosen(context, qtbot).run == runs[0]
    assert section.chooser.models.currentText() == "first/version_0"
    assert section.chooser.models.count() == 2


def test_without_one_the_newest_run_is_preselected_but_not_remembered(dock, context, qtbot, workspace, runs):
    dock()
    context.session.adopt(Opened(workspace, None))
    assert chosen(context, qtbot).run == runs[1]
    quiet(context, qtbot)
    assert recall_model(workspace) is None


def test_a_preselected_model_is_remembered_once_it_predicts(dock, context, qtbot, workspace, runs, field):
    section = dock()
    context.session.adopt(Opened(workspace, None))
    chosen(context, qtbot)
    context.viewer.add_image(field, name="Phase")
    section.start("field")
    quiet(context, qtbot)
    assert recall_model(workspace).run == runs[1]


def test_a_model_that_the_user_chose_stays_when_a_workspace_opens(dock, context, qtbot, workspace, runs, checkpoint):
    remember_model(model_at(runs[0].checkpoint, runs[0]), workspace)
    dock().use_file(checkpoint)
    chosen(context, qtbot)
    context.session.adopt(Opened(workspace, None))
    quiet(context, qtbot)
    assert context.session.model.path == checkpoint


def test_a_preselected_model_gives_way_to_the_one_of_the_workspace_that_opens(
    dock, context, qtbot, workspace, runs, checkpoint
):
    remember_model(model_at(checkpoint), None)
    remember_model(model_at(runs[0].checkpoint, runs[0]), workspace)
    dock()
    assert chosen(context, qtbot).path == checkpoint
    context.session.adopt(Opened(workspace, None))
    qtbot.waitUntil(lambda: context.session.model.run == runs[0], timeout=PATIENCE_MS)


def test_a_second_dock_leaves_the_chosen_run_alone(dock, context, qtbot, workspace, runs):
    section = dock()
    context.session.adopt(Opened(workspace, None))
    chosen(context, qtbot)
    section.chooser.models.activated.emit(1)
    qtbot.waitUntil(lambda: context.session.model.run == runs[0], timeout=PATIENCE_MS)
    quiet(context, qtbot)
    dock()
    quiet(context, qtbot)
    assert context.session.model.run == runs[0]


def test_a_run_that_was_trained_just_now_is_chosen(dock, context, qtbot, workspace, runs, checkpoint):
    section = dock()
    context.session.adopt(Opened(workspace, None))
    chosen(context, qtbot)
    section.chooser.models.activated.emit(1)
    qtbot.waitUntil(lambda: context.session.model.run == runs[0], timeout=PATIENCE_MS)
    context.session.runs_changed.emit()  # a training that left nothing
    quiet(context, qtbot)
    assert context.session.model.run == runs[0]
    made = new_run(workspace, checkpoint)
    context.session.runs_changed.emit()
    qtbot.waitUntil(lambda: context.session.model.run == made, timeout=PATIENCE_MS)
    quiet(context, qtbot)
    assert recall_model(workspace).run == made


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_run_that_was_trained_takes_the_place_of_a_file_that_nobody_chose(
    dock, context, qtbot, workspace, checkpoint, by_hand
):
    remember_model(model_at(checkpoint), None)
    section = dock()
    chosen(context, qtbot)
    if by_hand:
        section.use_file(checkpoint)
        qtbot.waitUntil(lambda: not context.session.preselected, timeout=PATIENCE_MS)
    context.session.adopt(Opened(workspace, None))
    quiet(context, qtbot)
    made = new_run(workspace, checkpoint)
    context.session.runs_changed.emit()
    quiet(context, qtbot)
    assert context.session.model.run == (None if by_hand else made)


def test_a_model_that_is_gone_is_not_spoken_of(dock, context, qtbot, checkpoint, tmp_path):
    gone = shutil.copy(checkpoint, tmp_path / "gone.ckpt")
    remember_model(model_at(gone), None)
    gone.unlink()
    section = dock()
    quiet(context, qtbot)
    assert context.session.model is None
    assert section.problem.isHidden()


def test_what_was_said_of_a_third_party_model_is_not_asked_again(dock, context, qtbot, theirs):
    said = ModelNotes(sources=("Phase",), targets=("Nuclei",))
    remember_model(model_at(theirs, notes=said), None)
    section = dock()
    assert chosen(context, qtbot).notes == said
    section.chooser.models.activated.emit(0)
    quiet(context, qtbot)
    assert section.chooser.third_party.isHidden()
    assert section.problem.isHidden()
