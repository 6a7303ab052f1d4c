"""Evaluate and Deploy work on one run: the newest, until somebody chooses another."""

import csv
import os
import shutil

import pytest

from napari_vstain.core.session import open_path
from napari_vstain.widgets.docks.deploy import DeploySection
from napari_vstain.widgets.docks.evaluate import EvaluateSection
from napari_vstain.widgets.section import Condition

PATIENCE_MS = 120_000


def new_run(workspace, checkpoint, age_s=0):
    run = workspace.experiment("first").new_run()
    run.checkpoints.mkdir()
    shutil.copy(checkpoint, run.checkpoints / "best.ckpt")
    os.utime(run.checkpoint, (1e9 - age_s, 1e9 - age_s))
    return run


@pytest.fixture(params=[EvaluateSection, DeploySection])
def section(request, context, qtbot):
    return opened(request.param, context, qtbot)


def opened(kind, context, qtbot):
    made = kind(context)
    qtbot.addWidget(made)
    return made


def names(section):
    return [section.runs.itemText(index) for index in range(section.runs.count())]


def choose(section, index):
    """Choose as a click does."""
    section.runs.setCurrentIndex(index)
    section.runs.activated.emit(index)


def wait(qtbot, section, condition):
    qtbot.waitUntil(lambda: condition() or not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()


def test_what_is_missing_is_said_and_the_button_waits(section, context, qtbot, workspace, checkpoint):
    assert "in Data first" in section.hint.text()
    assert not section.go.isEnabled()
    context.session.adopt(open_path(workspace.root))
    qtbot.waitUntil(lambda: section.hint.text() == "Train a model first: it appears here.", timeout=PATIENCE_MS)
    assert not section.go.isEnabled()
    assert section.now.condition is Condition.WAITING
    new_run(workspace, checkpoint)
    context.session.runs_changed.emit()
    qtbot.waitUntil(section.go.isEnabled, timeout=PATIENCE_MS)
    assert section.hint.text() == ""
    assert section.now.condition is Condition.READY


def test_the_newest_run_is_chosen_until_somebody_chooses(section, context, qtbot, workspace, checkpoint):
    first = new_run(workspace, checkpoint, age_s=9)
    context.session.adopt(open_path(workspace.root))
    qtbot.waitUntil(lambda: section.runs.run == first, timeout=PATIENCE_MS)
    second = new_run(workspace, checkpoint, age_s=5)
    context.session.runs_changed.emit()
    qtbot.waitUntil(lambda: names(section) == [second.label, first.label], timeout=PATIENCE_MS)
    assert section.runs.run == second
    choose(section, 1)
    third = new_run(workspace, checkpoint, age_s=1)
    context.session.runs_changed.emit()
    qtbot.waitUntil(lambda: names(section)[0] == third.label, timeout=PATIENCE_MS)
    assert section.runs.run == first


def test_another_workspace_has_its_own_runs(section, context, qtbot, workspace, checkpoint, tmp_path):
    from napari_vstain.core.workspace import Workspace

    choose_from = [new_run(workspace, checkpoint, age_s=9 - n) for n in range(2)]
    context.session.adopt(open_path(workspace.root))
    qtbot.waitUntil(lambda: section.runs.count() == 2, timeout=PATIENCE_MS)
    choose(section, 1)
    assert section.runs.run == choose_from[0]
    context.session.adopt(open_path(Workspace.create(tmp_path / "other").root))
    qtbot.waitUntil(lambda: section.runs.count() == 0, timeout=PATIENCE_MS)
    assert section.runs.run is None
    assert not section.go.isEnabled()


def test_the_table_says_which_run_it_is_of_and_is_exported_with_its_readme(
    context, qtbot, workspace, checkpoint, tmp_path
):
    section = opened(EvaluateSection, context, qtbot)
    older = new_run(workspace, checkpoint, age_s=9)
    new_run(workspace, checkpoint)
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    qtbot.waitUntil(lambda: section.runs.count() == 2, timeout=PATIENCE_MS)
    section.every.setChecked(True)
    assert section.go.text() == "Evaluate 6 positions"
    choose(section, 1)
    section.go.click()
    assert section.go.text() == "Evaluating…"
    wait(qtbot, section, lambda: section.job is None)
    assert section.result.text() == f"{older.label}, written to evaluation/first/metrics.csv"
    assert section.table.rowCount() > 0
    section.export(tmp_path / "mine.csv")
    wait(qtbot, section, (tmp_path / "mine.csv").is_file)
    with (tmp_path / "mine.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {older.name}
    assert len({row["position"] for row in rows}) == 6
    qtbot.waitUntil((tmp_path / "metrics.README").is_file, timeout=PATIENCE_MS)


def test_a_name_that_cannot_be_a_file_is_said_beside_it(context, qtbot, workspace, checkpoint):
    section = opened(DeploySection, context, qtbot)
    new_run(workspace, checkpoint)
    context.session.adopt(open_path(workspace.root))
    qtbot.waitUntil(section.go.isEnabled, timeout=PATIENCE_MS)
    assert section.name.text() == "first_version_0"
    section.name.clear()
    qtbot.keyClicks(section.name, "a/b")
    assert not section.go.isEnabled()
    assert "may hold letters, digits" in section.hint.text()
    section.name.clear()
    qtbot.keyClicks(section.name, "mine")
    assert section.go.isEnabled()


def test_a_failed_evaluation_is_one_sentence_and_the_button_is_back(context, qtbot, workspace, checkpoint):
    section = opened(EvaluateSection, context, qtbot)
    run = new_run(workspace, checkpoint)
    context.session.adopt(open_path(workspace.root))
    qtbot.waitUntil(lambda: section.runs.count() == 1, timeout=PATIENCE_MS)
    section.every.setChecked(True)
    run.checkpoint.write_bytes(b"not a checkpoint")
    section.go.click()
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert "best.ckpt" in section.problem.text()
    assert section.now.condition is Condition.FAILED
    assert section.go.isEnabled()
