"""The Data dock: what is opened is shown, positions are gone through, and the user's layers stay."""

import numpy as np
import pytest

from napari_vstain.widgets.docks.data import DataSection
from napari_vstain.widgets.section import Condition

PATIENCE_MS = 60_000


@pytest.fixture
def section(context, qtbot):
    made = DataSection(context)
    qtbot.addWidget(made)
    return made


def settled(section, qtbot, names):
    """Wait until the viewer shows these layers, bottom first."""
    viewer = section.context.viewer
    qtbot.waitUntil(
        lambda: [layer.name for layer in viewer.layers] == names or not section.problem.isHidden(), timeout=PATIENCE_MS
    )
    assert section.problem.isHidden(), section.problem.text()


def test_an_empty_dock_says_what_to_do_first(section):
    assert not section.empty.isHidden()
    assert "Sample plate" in section.empty.text()
    assert section.now.condition is Condition.WAITING


def test_opening_a_plate_shows_its_first_position(section, qtbot, plate):
    from napari_vstain.core.data import open_dataset

    section.open(plate)
    settled(section, qtbot, ["Phase", "Nuclei", "Membrane"])
    phase = section.context.viewer.layers["Phase"]
    position = open_dataset(plate).position("A/1/0")
    np.testing.assert_array_equal(phase.data, position.read(["Phase"])[0, 0])
    np.testing.assert_allclose(phase.scale, position.spacing_um[1:])
    assert [str(unit) for unit in phase.units] == ["micrometer", "micrometer"]
    qtbot.waitUntil(lambda: section.now.condition is Condition.DONE)


def test_going_to_another_position_replaces_our_layers_and_no_others(section, qtbot, plate):
    viewer = section.context.viewer
    mine = viewer.add_image(np.zeros((8, 8)), name="Phase")
    section.open(plate)
    settled(section, qtbot, ["Phase", "Phase [1]", "Nuclei", "Membrane"])
    before = np.asarray(viewer.layers[1].data).copy()
    section.steps.on.click()
    qtbot.waitUntil(
        lambda: len(viewer.layers) == 4 and not np.array_equal(viewer.layers[1].data, before), timeout=PATIENCE_MS
    )
    assert section.session.position.key == "A/1/1"
    assert mine in viewer.layers


def test_a_click_on_the_plate_map_goes_to_the_well(section, qtbot, plate):
    from qtpy.QtCore import Qt

    section.open(plate)
    settled(section, qtbot, ["Phase", "Nuclei", "Membrane"])
    qtbot.mouseClick(section.plate, Qt.MouseButton.LeftButton, pos=section.plate.centre("B", "2"))
    assert section.session.position.key == "B/2/0"
    assert [section.steps.fields.itemText(at) for at in range(section.steps.fields.count())] == [
        "B/2/0",
        "B/2/1",
        "B/2/2",
    ]


def test_a_path_that_is_nothing_is_one_sentence_and_what_is_open_stays(section, qtbot, plate, tmp_path):
    section.open(plate)
    settled(section, qtbot, ["Phase", "Nuclei", "Membrane"])
    section.open(tmp_path)
    qtbot.waitUntil(lambda: not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert section.problem.text().count(".") >= 1
    assert section.session.dataset.path == plate
    assert "cells.zarr" in section.where.text()


def test_a_plate_dropped_on_the_canvas_is_open_in_the_dock(section, qtbot, plate):
    viewer = section.context.viewer
    layers = viewer.open(str(plate), plugin="napari-vstain")
    qtbot.waitUntil(lambda: section.session.dataset is not None, timeout=PATIENCE_MS)
    assert section.session.dataset.path == plate
    assert list(viewer.layers) == layers
    section.steps.on.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3 and layers[0] not in viewer.layers, timeout=PATIENCE_MS)


def test_the_roles_of_channels_are_the_sessions(section, qtbot, plate):
    section.open(plate)
    settled(section, qtbot, ["Phase", "Nuclei", "Membrane"])
    section.roles.boxes["Membrane"].setCurrentText("–")
    assert section.session.targets == ("Nuclei",)
    section.session.choose_channels(["Nuclei"], ["Membrane"])
    assert [combo.currentText() for combo in section.roles.boxes.values()] == ["–", "source", "target"]


def test_a_workspace_is_made_for_a_dataset_from_elsewhere(section, qtbot, plate, tmp_path):
    section.open(plate)
    settled(section, qtbot, ["Phase", "Nuclei", "Membrane"])
    assert not section.save_in.isHidden()
    section.new_workspace(tmp_path / "study")
    qtbot.waitUntil(lambda: section.session.workspace is not None, timeout=PATIENCE_MS)
    assert section.session.workspace.dataset_names() == ["cells"]
    assert section.save_in.isHidden()
