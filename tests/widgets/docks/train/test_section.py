"""The Train dock: what is missing is said, a fit is watched and stopped, and what it learned is kept."""

import pytest

from napari_vstain.core.session import open_path
from napari_vstain.widgets.docks.train import TrainSection
from napari_vstain.widgets.section import Condition

PATIENCE_MS = 120_000


@pytest.fixture
def section(context, qtbot):
    made = TrainSection(context)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def ready(section, context, workspace):
    """The section with a workspace, a dataset and channels, set to the smallest fit."""
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    section.name.setText("first")
    section.form.set_values({"epochs": 2})
    section.form.set_values({"patch_px": 32, "batch_size": 2})
    return section


def ended(section, qtbot):
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)


def test_what_is_missing_is_said_in_order(section, context, plate, workspace):
    assert section.plan.text() == "Open a dataset in Data first."
    context.session.adopt(open_path(plate))
    context.session.choose_channels((), ())
    assert section.plan.text() == "Choose at least one source and one target channel in Data."
    context.session.choose_channels(("Phase",), ("Nuclei",))
    assert "Create a workspace in Data first: it keeps the model." in section.plan.text()
    assert not section.go.isEnabled()
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    assert section.go.isEnabled()
    assert section.now.condition is Condition.READY


def test_the_plan_says_what_is_learned_from_what(ready, context):
    split = context.session.split()
    kept = f"{len(split.validate)} to validate, {len(split.test)} kept for the test."
    assert ready.plan.text() == f"Phase → Nuclei · {kept}"
    assert ready.go.text() == f"Train on {len(split.train)} positions"


@pytest.mark.parametrize(("name", "problem"), [("a/b", "may hold letters, digits"), ("", "may hold letters, digits")])
def test_a_name_that_cannot_be_a_folder_is_said(ready, name, problem):
    ready.name.setText(name)
    assert not ready.go.isEnabled()
    assert problem in ready.plan.text()


def test_the_name_follows_the_targets_until_it_is_typed(section, context, qtbot, workspace):
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    assert section.name.text().endswith("_Nuclei")
    context.session.choose_channels(("Phase",), ("Nuclei", "Membrane"))
    assert section.name.text().endswith("_Nuclei_Membrane")
    section.name.clear()
    qtbot.keyClicks(section.name, "mine")
    context.session.choose_channels(("Phase",), ("Membrane",))
    assert section.name.text() == "mine"


def test_a_fit_is_drawn_and_kept(ready, qtbot, workspace):
    ready.go.click()
    assert ready.go.isHidden()
    assert ready.stop.isEnabled()
    assert ready.now.condition is Condition.BUSY
    ended(ready, qtbot)
    assert ready.problem.isHidden(), ready.problem.text()
    assert len(ready.plot.series["loss/train_epoch"]) == len(ready.plot.series["loss/validate"]) == 2
    assert ready.result.text().startswith("Trained 2 epochs: best loss ")
    assert "Saved as first/version_0, ready in Predict." in ready.result.text()
    assert workspace.experiment("first").run().checkpoint.is_file()
    assert not ready.go.isHidden()
    assert ready.now.condition is Condition.DONE


def test_stop_keeps_what_was_learned(ready, qtbot, workspace):
    ready.form.set_values({"epochs": 10_000})
    ready.go.click()
    qtbot.waitUntil(lambda: len(ready.plot.series["loss/train_epoch"]) > 0, timeout=PATIENCE_MS)
    ready.stop.click()
    assert not ready.stop.isEnabled()
    assert ready.stop.text().startswith("Stopping…")
    ended(ready, qtbot)
    assert ready.result.text().startswith("Stopped after ")
    assert workspace.experiment("first").run().checkpoint.is_file()


def test_a_fit_that_cannot_be_is_one_sentence_and_leaves_nothing(ready, qtbot, workspace):
    ready.form.set_values({"patch_px": 512})
    ready.go.click()
    ended(ready, qtbot)
    assert "patch size '512 px': is larger than position A/1/" in ready.problem.text()
    assert ready.now.condition is Condition.FAILED
    assert not ready.go.isHidden()
    assert ready.go.isEnabled()
    assert workspace.experiments() == []
    ready.form.set_values({"patch_px": 32})
    ready.form.set_values({"epochs": 1})
    ready.go.click()
    assert ready.problem.isHidden()
    ended(ready, qtbot)
    assert ready.result.text().startswith("Trained 1 epoch")


def test_stop_before_the_first_epoch_ended_says_so_and_the_training_can_be_gone_on_with(ready, qtbot, workspace):
    ready.form.set_values({"epochs": 2})
    ready.go.click()
    qtbot.waitUntil(lambda: len(ready.plot.series["loss/train_step"]) > 0, timeout=PATIENCE_MS)
    ready.stop.click()
    ended(ready, qtbot)
    if ready.job is None and len(ready.plot.series["loss/train_epoch"]) == 0:
        assert ready.result.text().startswith("Stopped before the first epoch had ended")
        assert "nan" not in ready.result.text()
    qtbot.waitUntil(lambda: not ready.resume.isHidden(), timeout=PATIENCE_MS)
    assert ready.resume.text() == "Go on with version_0"
    assert "first/version_0 was stopped after " in ready.resume.toolTip()
    ready.resume.click()
    assert ready.resume.isHidden()
    assert not ready.form.isEnabled()
    ended(ready, qtbot)
    assert ready.problem.isHidden(), ready.problem.text()
    assert ready.result.text().startswith("Trained 2 epochs")
    (run,) = workspace.experiment("first").runs()
    assert run.trained
    qtbot.wait(500)
    assert ready.resume.isHidden()  # nothing is left to go on with
