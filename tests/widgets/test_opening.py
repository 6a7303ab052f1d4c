"""What is open: the position shown is the one chosen, whoever asked last, and nothing on the canvas is overlooked."""

import shutil
import time

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from napari_vstain.core.workspace import Workspace
from napari_vstain.widgets.compat import bare
from napari_vstain.widgets.data import DataDock, DataSection
from napari_vstain.widgets.desk import desk_of
from napari_vstain.widgets.predict import PredictDock

PATIENCE_MS = 60_000
CHANNELS = ["Phase", "Nuclei", "Membrane"]


@pytest.fixture
def section(desk, qtbot):
    made = DataSection(desk)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def other(tmp_path, plate):
    """Another plate of the same cells."""
    return shutil.copytree(plate, tmp_path / "other.zarr")


def places(desk):
    """Return where the layers on the canvas come from."""
    return {(origin.dataset, origin.position) for _, origin in desk.book.shown(desk.viewer)}


def agree(desk, qtbot, path, key):
    """Wait until the canvas and the session say this position, and nothing that is under way could change it."""
    session = desk.session

    def agreed():
        assert not session.jobs
        assert session.position is not None
        assert (str(session.dataset.path), session.position.key) == (str(path), key)
        assert places(desk) == {(str(path), key)}
        assert len(desk.viewer.layers) == 3

    qtbot.waitUntil(agreed, timeout=PATIENCE_MS)


def test_of_two_plates_opened_at_once_the_last_one_is_open_and_shown(section, qtbot, desk, plate, other):
    section.open(plate)
    section.open(other)
    agree(desk, qtbot, other, "A/1/0")
    assert "other.zarr" in section.where.text()


def test_a_plate_dropped_while_a_workspace_opens_wins_and_the_workspace_stays(section, qtbot, desk, other, workspace):
    section.open(workspace.root)
    desk.viewer.open(str(other), plugin="napari-vstain")
    agree(desk, qtbot, other, "A/1/0")
    qtbot.waitUntil(lambda: desk.session.workspace == workspace, timeout=PATIENCE_MS)
    assert "other.zarr" in section.where.text()


def test_a_plate_that_is_dropped_takes_the_place_of_the_one_that_was_shown(section, qtbot, desk, plate, other):
    section.open(plate)
    agree(desk, qtbot, plate, "A/1/0")
    desk.viewer.open(str(other), plugin="napari-vstain")
    agree(desk, qtbot, other, "A/1/0")


def test_quick_steps_end_at_the_last_position_and_show_it(section, qtbot, desk, plate):
    section.open(plate)
    agree(desk, qtbot, plate, "A/1/0")
    for _ in range(3):
        qtbot.mouseClick(section.steps.on, Qt.MouseButton.LeftButton)
    agree(desk, qtbot, plate, "B/2/0")


def test_a_position_that_a_script_chooses_is_shown(section, qtbot, desk, plate):
    section.open(plate)
    agree(desk, qtbot, plate, "A/1/0")
    desk.session.choose_position("B/2/2")
    agree(desk, qtbot, plate, "B/2/2")


def test_layers_that_were_there_before_the_dock_are_taken_in(make_napari_viewer_proxy, qtbot, plate):
    viewer = make_napari_viewer_proxy()
    layers = viewer.open(str(plate), plugin="napari-vstain")
    dock = DataDock(viewer)
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: dock.desk.session.dataset is not None, timeout=PATIENCE_MS)
    assert list(viewer.layers) == layers
    assert "cells.zarr" in dock.section.where.text()
    assert dock.section.empty.isHidden()
    assert {origin.kind for _, origin in dock.desk.book.shown(viewer)} == {"source", "target"}
    assert dock.desk.session.close(timeout_s=20)


def test_the_keys_walk_the_positions_with_the_predict_dock_alone(make_napari_viewer_proxy, qtbot, plate):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.open(str(plate), plugin="napari-vstain")
    dock = PredictDock(viewer)
    qtbot.addWidget(dock)
    desk = dock.desk
    agree(desk, qtbot, plate, "A/1/0")
    canvas = bare(viewer).window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_N)
    agree(desk, qtbot, plate, "A/1/1")
    qtbot.keyClick(canvas, Qt.Key.Key_N)
    agree(desk, qtbot, plate, "A/1/2")
    qtbot.keyClick(canvas, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    agree(desk, qtbot, plate, "A/1/1")
    assert desk.session.close(timeout_s=20)


def test_a_dock_that_is_opened_again_has_its_keys_again(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    for _ in range(2):
        holder, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Predict")
        assert "(G)" in dock.section.go.text()
        viewer.window.remove_dock_widget(holder)


def test_the_sample_plate_is_made_while_the_window_lives(make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("VSTAIN_CACHE", str(tmp_path))
    viewer = make_napari_viewer_proxy()
    dock = DataDock(viewer)
    qtbot.addWidget(dock)
    viewer.layers.remove(viewer.add_image(np.zeros((8, 8))))  # napari's own first layer is not what is measured
    gaps, last = [], [time.thread_time()]

    def tick():
        now = time.thread_time()  # of this thread: how busy the machine is with others is not what is measured
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(5)
    viewer.open_sample("napari-vstain", "sample_plate")
    timer.stop()
    tick()
    assert [layer.name for layer in viewer.layers] == CHANNELS
    assert len(gaps) > 20
    assert max(gaps) < 0.5
    path = Workspace.open(tmp_path / "sample").dataset("sample")
    agree(dock.desk, qtbot, path, "A/1/0")
    assert desk_of(viewer).session.close(timeout_s=20)
