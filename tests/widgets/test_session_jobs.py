"""Docks show the session's jobs: any number of them, opened at any time, closed and opened again."""

import os
import shutil
from threading import Event

import pytest

from napari_vstain.core import child, inference
from napari_vstain.core.jobs import FinishReason
from napari_vstain.core.session import JobKind, open_path
from napari_vstain.core.workspace import Workspace
from napari_vstain.widgets.docks.deploy import DeploySection
from napari_vstain.widgets.docks.evaluate import EvaluateSection
from napari_vstain.widgets.docks.train import TrainSection
from napari_vstain.widgets.section import Condition

PATIENCE_MS = 240_000
LONG = {"epochs": 10_000, "patch_px": 32, "batch_size": 2}


@pytest.fixture
def study(context, workspace):
    """The session with a workspace, a dataset and channels."""
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    return context.session


@pytest.fixture
def section(context, qtbot):
    """A function that opens a section of a class, as a dock does."""

    def opened(kind):
        made = kind(context)
        qtbot.addWidget(made)
        return made

    return opened


def new_run(workspace, checkpoint, age_s):
    run = workspace.experiment("first").new_run()
    run.checkpoints.mkdir()
    shutil.copy(checkpoint, run.checkpoints / "best.ckpt")
    os.utime(run.checkpoint, (1e9 - age_s, 1e9 - age_s))
    return run


def fit(session, **options):
    return session.train("first", session.split(), **{**LONG, **options})


def learned(qtbot, job, epochs=2):
    qtbot.waitUntil(
        lambda: len(job.record.series.get("loss/train_epoch", ())) >= epochs or not job.running, timeout=PATIENCE_MS
    )


def closed(qtbot, widget):
    widget.deleteLater()
    with qtbot.waitSignal(widget.destroyed):
        pass


def test_a_dock_opened_in_the_middle_of_a_fit_shows_all_of_it(study, section, qtbot):
    job = fit(study)
    learned(qtbot, job)
    late = section(TrainSection)
    assert late.job is job
    assert late.plot.series["loss/train_epoch"].xy[0][0] == 1  # from the first epoch on
    assert not late.plot.isHidden()
    assert late.go.isHidden()
    assert not late.stop.isHidden()
    assert late.now.condition is Condition.BUSY
    assert (late.name.text(), late.form.values()["epochs"], late.form.values()["patch_px"]) == ("first", 10_000, 32)
    late.stop.click()
    qtbot.waitUntil(lambda: late.job is None, timeout=PATIENCE_MS)
    assert job.status.reason is FinishReason.CANCELLED


def test_no_second_training_starts_from_a_dock_that_is_opened_again(context, study, section, qtbot):
    first = TrainSection(context)
    job = fit(study)
    closed(qtbot, first)
    again = section(TrainSection)
    again.start()
    again.go.click()
    assert study.latest(JobKind.TRAIN) is job
    assert len(study.announced) == 1
    job.stop()
    qtbot.waitUntil(lambda: again.job is None, timeout=PATIENCE_MS)


def test_two_docks_of_one_kind_show_the_same_from_start_to_end(study, section, qtbot):
    docks = [section(TrainSection) for _ in range(2)]
    docks[0].name.setText("first")
    docks[0].form.set_values({"epochs": 1})
    docks[0].form.set_values({"patch_px": 32, "batch_size": 2})
    docks[0].go.click()
    for dock in docks:
        assert dock.job is not None
        assert dock.go.isHidden()
        assert not dock.form.isEnabled()
        assert not dock.form.isEnabled()
        assert not dock.name.isEnabled()
    qtbot.waitUntil(lambda: all(dock.job is None for dock in docks), timeout=PATIENCE_MS)
    assert docks[0].result.text() == docks[1].result.text() != ""
    assert docks[1].form.values()["epochs"] == 1
    for dock in docks:
        assert dock.form.isEnabled()
        assert dock.form.isEnabled()
        assert dock.name.isEnabled()
        assert not dock.go.isHidden()


def test_what_came_of_a_fit_is_shown_by_a_dock_that_is_opened_after_it(context, study, section, qtbot):
    closed(qtbot, TrainSection(context))
    told = []
    study.runs_changed.connect(lambda: told.append(True))
    job = fit(study, epochs=1)
    qtbot.waitUntil(
        lambda: bool(told), timeout=PATIENCE_MS
    )  # other docks learn of the run though no Train dock is open
    late = section(TrainSection)
    assert late.result.text().startswith("Trained 1 epoch: ")
    assert len(late.plot.series["loss/validate"]) == 1
    assert job.result().run.label in late.result.text()


def test_a_failure_is_shown_by_every_dock_and_goes_with_its_cause(study, section, qtbot):
    study.train("first", study.split(), epochs=1, patch_px=512)
    docks = [section(TrainSection), section(TrainSection)]
    qtbot.waitUntil(lambda: all(dock.job is None for dock in docks), timeout=PATIENCE_MS)
    late = section(TrainSection)
    for dock in (*docks, late):
        assert "is larger than position" in dock.problem.text()
        assert not dock.problem.isHidden()
        assert dock.plot.isHidden()  # nothing was learned: there is nothing to draw
    late.form.set_values({"patch_px": 64})
    assert late.problem.isHidden()
    assert late.now.condition is Condition.READY
    study.choose_channels(("Phase",), ("Membrane",))
    assert all(dock.problem.isHidden() for dock in docks)


def test_nothing_of_a_job_in_another_workspace_is_shown(study, section, qtbot, tmp_path):
    job = fit(study, patch_px=512)
    dock = section(TrainSection)
    qtbot.waitUntil(lambda: dock.job is None, timeout=PATIENCE_MS)
    assert not dock.problem.isHidden()
    study.adopt(open_path(Workspace.create(tmp_path / "other").root))
    assert dock.problem.isHidden()
    assert section(TrainSection).problem.isHidden()
    assert job.status.reason is FinishReason.FAILED


@pytest.fixture
def held(monkeypatch):
    """An event: no evaluation or export goes on before it is set, however long a window takes to open."""
    event = Event()

    def waiting_for_it(function):
        def run(*arguments):
            event.wait(PATIENCE_MS / 1000)
            return function(*arguments)

        return run

    monkeypatch.setattr(inference, "run", waiting_for_it(inference.run))
    monkeypatch.setattr(child, "run_in_child", waiting_for_it(child.run_in_child))
    yield event
    event.set()


@pytest.mark.parametrize("kind", [EvaluateSection, DeploySection])
def test_docks_of_one_run_freeze_while_it_is_worked_on_and_show_what_came_of_it(
    study, section, qtbot, workspace, checkpoint, held, kind
):
    run, newer = (new_run(workspace, checkpoint, age_s) for age_s in (9, 0))
    docks = [section(kind) for _ in range(2)]
    qtbot.waitUntil(lambda: all(dock.runs.count() == 2 for dock in docks), timeout=PATIENCE_MS)
    assert docks[1].runs.run == newer
    run.checkpoint.write_bytes(b"not a checkpoint")
    if kind is EvaluateSection:
        study.evaluate(run, tuple(study.open_dataset.positions)[:1])
    else:
        study.export(run, "mine")
    late = section(kind)
    assert late.runs.run == run
    for dock in (*docks, late):
        assert dock.runs.run == run
        assert not dock.runs.isEnabled()
        assert not dock.go.isEnabled()
        assert dock.now.condition is Condition.BUSY
    held.set()
    qtbot.waitUntil(lambda: all(dock.job is None for dock in (*docks, late)), timeout=PATIENCE_MS)
    for dock in (*docks, late, section(kind)):
        assert dock.runs.isEnabled()
        assert not dock.problem.isHidden()
        assert dock.problem.text() == docks[0].problem.text()
