"""What the window does not do again and again: it is styled, ordered and watched once, and anew only for a change."""

from collections import Counter

import pytest
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication, QComboBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_vstain.core.session import open_path
from napari_vstain.widgets.dock import Dock
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.kit import tab_order as access
from napari_vstain.widgets.kit.style import mark_wrong
from napari_vstain.widgets.kit.tab_order import TabOrder
from napari_vstain.widgets.kit.wheel import WheelFilter


class StyleChanges(QObject):
    """Counts how often the widgets that it is installed on are styled anew."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def eventFilter(self, watched, event):
        self.number += event.type() == QEvent.Type.StyleChange
        return False


@pytest.fixture
def sheets(monkeypatch):
    """The style sheets that docks were given, in order."""
    given = []

    def record(self, sheet):
        given.append(sheet)
        QWidget.setStyleSheet(self, sheet)

    monkeypatch.setattr(Dock, "setStyleSheet", record, raising=False)
    return given


def test_a_dock_is_styled_once_for_each_theme(make_napari_viewer_proxy, qtbot, sheets):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.theme = "dark"
    dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")[1]
    qtbot.waitExposed(dock)
    assert len(sheets) == 1
    QApplication.sendEvent(dock, QEvent(QEvent.Type.StyleChange))
    QApplication.sendEvent(dock, QEvent(QEvent.Type.Polish))
    assert len(sheets) == 1, "the same theme"
    viewer.theme = "light"
    qtbot.wait(50)
    assert len(sheets) == 2
    assert sheets[0] != sheets[1]
    assert dock.context.session.close(timeout_s=20)


def test_an_editor_is_styled_anew_only_when_it_turns_wrong_or_right(qtbot):
    given = []

    class Recording(QLineEdit):
        def setStyleSheet(self, sheet):
            given.append(bool(sheet))
            super().setStyleSheet(sheet)

    editor = Recording()
    qtbot.addWidget(editor)
    for wrong in (False, False, True, True, False, False):
        mark_wrong(editor, wrong)
    assert given == [True, False]


def test_what_a_prediction_reports_styles_no_editor_anew(make_napari_viewer_proxy, qtbot, workspace, checkpoint, field):
    from napari_vstain.core.session import model_at

    viewer = make_napari_viewer_proxy(show=True)
    dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Predict")[1]
    viewer.add_image(field, name="Phase")
    dock.context.session.choose_model(model_at(checkpoint))
    section, changes = dock.section, StyleChanges()
    assert isinstance(section, PredictSection)
    qtbot.wait(50)
    assert section.findChildren(QComboBox)
    for combo in section.findChildren(QComboBox):
        combo.installEventFilter(changes)
    section.start()
    qtbot.waitUntil(lambda: section.job is None, timeout=30_000)
    assert changes.number == 0
    assert dock.context.session.close(timeout_s=20)


def test_the_tab_order_is_left_alone_until_there_are_other_stops(qtbot, monkeypatch):
    set_orders = []

    class Counting(QWidget):
        setTabOrder = staticmethod(lambda *pair: set_orders.append(pair))

    root, first, last = QWidget(), QPushButton("first"), QPushButton("last")
    qtbot.addWidget(root)
    line = QHBoxLayout(root)
    line.addWidget(first)
    line.addWidget(last)
    monkeypatch.setattr(access, "QWidget", Counting)
    order = TabOrder(root)
    order.arrange()
    assert set_orders == [(first, last)]
    order.arrange()
    line.addWidget(QLabel("no stop"))
    order.arrange()
    assert len(set_orders) == 1, "nothing changed"
    between = QLineEdit()
    line.insertWidget(1, between)
    order.arrange()
    assert set_orders[1:] == [(first, between), (between, last)]


def test_a_label_and_a_button_cost_no_call_of_ours_for_their_events(qtbot, monkeypatch):
    seen = Counter()

    def count(self, watched, event):
        seen[type(watched).__name__] += 1
        return False

    monkeypatch.setattr(WheelFilter, "eventFilter", count)
    root = QWidget()
    qtbot.addWidget(root)
    line = QHBoxLayout(root)
    parts = [QLabel("a"), QPushButton("b"), QLineEdit("c")]
    for part in parts:
        line.addWidget(part)
    WheelFilter(root)
    for part in parts:
        QApplication.sendEvent(part, QEvent(QEvent.Type.User))
    assert seen["QLineEdit"] == 1
    assert not seen.keys() & {"QLabel", "QPushButton"}


def test_what_comes_into_one_part_is_watched_without_searching_the_others(make_napari_viewer_proxy, qtbot, workspace):
    viewer = make_napari_viewer_proxy(show=True)
    dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Data")[1]
    dock.context.session.adopt(open_path(workspace.root))
    qtbot.wait(50)
    searched = []
    box = QWidget()
    row = QVBoxLayout(box)
    dock.inside.addWidget(box)
    qtbot.wait(20)
    box.findChildren = lambda kind: searched.append((box, kind)) or QWidget.findChildren(box, kind)
    dock.findChildren = lambda kind: searched.append((dock, kind)) or QWidget.findChildren(dock, kind)
    row.addWidget(QComboBox())
    qtbot.wait(20)
    assert [part for part, kind in searched if kind is QWidget] == [box]
    assert dock.context.session.close(timeout_s=20)
