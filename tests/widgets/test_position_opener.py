"""What is open: the position shown is the one chosen, whoever asked last, and nothing on the canvas is overlooked."""

import shutil
import time

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer

from napari_vstain.core.workspace import Workspace
from napari_vstain.widgets.compat import bare
from napari_vstain.widgets.docks.data import DataDock, DataSection
from napari_vstain.widgets.docks.predict import PredictDock
from napari_vstain.widgets.viewer_context import context_of

PATIENCE_MS = 60_000
CHANNELS = ["Phase", "Nuclei", "Membrane"]


@pytest.fixture
def section(context, qtbot):
    made = DataSection(context)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def other(tmp_path, plate):
    """Another plate of the same cells."""
    return shutil.copytree(plate, tmp_path / "other.zarr")


def places(context):
    """Return where the layers on the canvas come from."""
    return {(origin.dataset, origin.position) for _, origin in context.registry.shown(context.viewer)}


def agree(context, qtbot, path, key):
    """Wait until the canvas and the session say this position, and nothing that is under way could change it."""
    session = context.session

    def agreed():
        assert not session.jobs
        assert session.position is not None
        assert (str(session.dataset.path), session.position.key) == (str(path), key)
        assert places(context) == {(str(path), key)}
        assert len(context.viewer.layers) == 3

    qtbot.waitUntil(agreed, timeout=PATIENCE_MS)


def test_of_two_plates_opened_at_once_the_last_one_is_open_and_shown(section, qtbot, context, plate, other):
    section.open(plate)
    section.open(other)
    agree(context, qtbot, other, "A/1/0")
    assert "other.zarr" in section.where.text()


def test_a_plate_dropped_while_a_workspace_opens_wins_and_the_workspace_stays(
    section, qtbot, context, other, workspace
):
    section.open(workspace.root)
    context.viewer.open(str(other), plugin="napari-vstain")
    agree(context, qtbot, other, "A/1/0")
    qtbot.waitUntil(lambda: context.session.workspace == workspace, timeout=PATIENCE_MS)
    assert "other.zarr" in section.where.text()


def test_a_plate_that_is_dropped_takes_the_place_of_the_one_that_was_shown(section, qtbot, context, plate, other):
    section.open(plate)
    agree(context, qtbot, plate, "A/1/0")
    context.viewer.open(str(other), plugin="napari-vstain")
    agree(context, qtbot, other, "A/1/0")


def test_quick_steps_end_at_the_last_position_and_show_it(section, qtbot, context, plate):
    section.open(plate)
    agree(context, qtbot, plate, "A/1/0")
    for _ in range(3):
        qtbot.mouseClick(section.steps.on, Qt.MouseButton.LeftButton)
    agree(context, qtbot, plate, "B/2/0")


def test_a_position_that_a_script_chooses_is_shown(section, qtbot, context, plate):
    section.open(plate)
    agree(context, qtbot, plate, "A/1/0")
    context.session.choose_position("B/2/2")
    agree(context, qtbot, plate, "B/2/2")


def test_layers_that_were_there_before_the_dock_are_taken_in(make_napari_viewer_proxy, qtbot, plate):
    viewer = make_napari_viewer_proxy()
    layers = viewer.open(str(plate), plugin="napari-vstain")
    dock = DataDock(viewer)
    qtbot.addWidget(dock)
    qtbot.waitUntil(lambda: dock.context.session.dataset is not None, timeout=PATIENCE_MS)
    assert list(viewer.layers) == layers
    assert "cells.zarr" in dock.section.where.text()
    assert dock.section.empty.isHidden()
    assert {origin.kind for _, origin in dock.context.registry.shown(viewer)} == {"source", "target"}
    assert dock.context.session.close(timeout_s=20)


def test_the_keys_walk_the_positions_with_the_predict_dock_alone(make_napari_viewer_proxy, qtbot, plate):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.open(str(plate), plugin="napari-vstain")
    dock = PredictDock(viewer)
    qtbot.addWidget(dock)
    context = dock.context
    agree(context, qtbot, plate, "A/1/0")
    canvas = bare(viewer).window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_N)
    agree(context, qtbot, plate, "A/1/1")
    qtbot.keyClick(canvas, Qt.Key.Key_N)
    agree(context, qtbot, plate, "A/1/2")
    qtbot.keyClick(canvas, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    agree(context, qtbot, plate, "A/1/1")
    assert context.session.close(timeout_s=20)


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
    agree(dock.context, qtbot, path, "A/1/0")
    assert context_of(viewer).session.close(timeout_s=20)
