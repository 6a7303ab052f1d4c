"""Docks: in every viewer, as often as one likes, narrow, light, and gone without a trace."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QScrollArea

from napari_vstain.widgets.dock import Dock
from napari_vstain.widgets.docks.train import TrainSection
from napari_vstain.widgets.kit.style import MAX_WIDTH
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.viewer_context import ViewerContext, context_of
from napari_vstain.widgets.workbench import SECTIONS, WorkbenchDock

DOCKS = ["Workbench", "Data", "Train", "Predict", "Evaluate", "Deploy"]
HEAVY = ("torch", "lightning", "monai", "iohub", "dask.array", "pandas", "pyqtgraph", "zarr", "onnxruntime", "onnx")


def test_the_manifest_is_valid_and_all_it_names_is_there():
    manifest = PluginManifest.from_distribution("napari-vstain")
    manifest.validate_imports()
    assert manifest.display_name == "Virtual Staining"
    assert [widget.display_name for widget in manifest.contributions.widgets] == DOCKS


def test_the_docks_are_in_the_plugins_menu(make_napari_viewer_proxy):
    make_napari_viewer_proxy()
    PluginManager.instance().discover()
    names = {widget.display_name for widget in PluginManager.instance().iter_widgets()}
    assert set(DOCKS) <= names


@pytest.mark.parametrize("name", DOCKS)
def test_each_dock_opens_in_a_new_viewer_twice_and_in_two_viewers_at_once(make_napari_viewer_proxy, name):
    first, second = make_napari_viewer_proxy(), make_napari_viewer_proxy()
    docks = [viewer.window.add_plugin_dock_widget("napari-vstain", name)[1] for viewer in (first, first, second)]
    assert docks[0] is docks[1]  # napari shows the one that is there
    assert docks[0] is not docks[2]
    assert docks[0].context is context_of(first)
    assert docks[2].context is context_of(second)
    assert docks[0].context is not docks[2].context


def test_a_closed_dock_opens_again_and_finds_the_session_as_it_was(make_napari_viewer_proxy, plate):
    viewer = make_napari_viewer_proxy()
    holder, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Data")
    dock.context.session.open(plate)
    viewer.window.remove_dock_widget(holder)
    again = viewer.window.add_plugin_dock_widget("napari-vstain", "Data")[1]
    assert again is not dock
    assert again.context is dock.context
    assert "cells.zarr" in again.section.where.text()
    assert set(again.section.roles.boxes) == {"Phase", "Nuclei", "Membrane"}


def test_all_docks_of_a_viewer_share_one_session(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    docks = [viewer.window.add_plugin_dock_widget("napari-vstain", name)[1] for name in DOCKS]
    assert len({id(dock.context.session) for dock in docks}) == 1


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_section_is_narrow_and_has_no_scroll_area_of_its_own(context, qtbot, kind):
    section = kind(context)
    qtbot.addWidget(section)
    assert section.sizeHint().width() <= MAX_WIDTH
    assert section.minimumSizeHint().width() <= MAX_WIDTH
    assert not [area for area in section.findChildren(QScrollArea) if type(area) is QScrollArea]
    assert isinstance(section.now.condition, Condition)
    assert section.title


def test_a_section_of_which_another_plate_makes_much_is_still_narrow(context, qtbot, plate):
    context.session.open(plate)
    for kind in SECTIONS:
        section = kind(context)
        qtbot.addWidget(section)
        section.show_error("a" * 20 + " long sentence of what went wrong" * 10)
        assert section.minimumSizeHint().width() <= MAX_WIDTH, kind


def test_what_goes_wrong_stays_in_the_dock_until_the_next_action(context, qtbot):
    section = TrainSection(context)
    qtbot.addWidget(section)
    states = []
    section.state.connect(states.append)

    def fail():
        raise LookupError("no such thing")

    section.guarded(fail)
    assert section.problem.text() == "LookupError: no such thing"
    assert not section.problem.isHidden()
    assert states[-1].condition is Condition.FAILED
    section.guarded(lambda: None)
    assert section.problem.isHidden()


def test_no_widget_outlives_its_dock(context, qtbot):
    dock = WorkbenchDock(context.viewer)
    dock.show()
    gone = [weakref.ref(widget) for widget in (dock, *dock.findChildren(Section))]
    assert len(gone) > 5
    dock.hide()
    dock.deleteLater()
    with qtbot.waitSignal(dock.destroyed):
        pass
    del dock

    def left() -> list[object]:
        gc.collect()
        return [widget for reference in gone if (widget := reference()) is not None]

    qtbot.waitUntil(lambda: not left())


def test_a_dock_that_is_gone_hears_nothing_of_the_session(context, qtbot, plate):
    for _ in range(2):
        dock = WorkbenchDock(context.viewer)
        dock.deleteLater()
        with qtbot.waitSignal(dock.destroyed):
            pass
    context.session.open(plate)
    context.viewer.add_image(np.zeros((8, 8)))


def test_the_context_keeps_no_viewer_alive(qapp):
    viewer = ViewerModel()
    context = ViewerContext(viewer)
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    context.close(0)


def test_the_context_of_a_proxy_is_the_context_of_its_viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    assert context_of(viewer) is context_of(viewer.__wrapped__)
    assert isinstance(WorkbenchDock(viewer), Dock)


OPEN_A_DOCK = """
import sys, napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=False)
plain = set(sys.modules)
viewer.window.add_plugin_dock_widget("napari-vstain", {name!r})
QApplication.processEvents()
ours = [name for name in {heavy!r} if name in sys.modules and name not in plain]
print("LOADED", ",".join(ours))
viewer.close()
"""


@pytest.mark.parametrize("name", DOCKS)
def test_opening_a_dock_loads_nothing_heavy(name):
    script = OPEN_A_DOCK.format(name=name, heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert "LOADED \n" in run.stdout, run.stdout + run.stderr


def test_a_context_that_outlives_its_window_does_not_hold_it(context):
    """napari's fixture, which ends before the context's, fails where a window is still held."""
    dock = context.viewer.window.add_plugin_dock_widget("napari-vstain", "Data")[1]
    context.attach(dock)
    assert context.viewer.window is not None
