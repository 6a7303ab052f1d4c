"""Wheel, Tab and names: what hands do in a dock does what it looks like."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QPushButton,
    QScrollArea,
    QSlider,
    QSpinBox,
    QTabWidget,
    QWidget,
)

from napari_vstain.core.session import open_path
from napari_vstain.widgets.docks.data.platemap import PlateMap
from napari_vstain.widgets.kit.collapsible import Collapsible
from napari_vstain.widgets.kit.tab_order import says_a_word
from napari_vstain.widgets.kit.wheel import is_editor
from napari_vstain.widgets.section import Section

DOCKS = ["Workbench", "Data", "Train", "Predict", "Evaluate", "Deploy"]


@pytest.fixture
def opened(make_napari_viewer_proxy, qtbot, workspace):
    """A function that opens a dock in a real window, low enough to scroll, a plate open, all that folds unfolded."""
    docks = []

    def open_dock(name):
        viewer = make_napari_viewer_proxy(show=True)
        made = viewer.window.add_plugin_dock_widget("napari-vstain", name)[1]
        docks.append(made)
        made.context.session.adopt(open_path(workspace.root))
        for fold in made.findChildren(Collapsible):
            fold.open(True)
        for section in made.findChildren(Section):
            section.setVisible(True)
        made.setFixedHeight(150)
        qtbot.waitExposed(made)
        qtbot.wait(50)
        return made

    yield open_dock
    assert all(made.context.session.close(timeout_s=20) for made in docks)


def turn(widget, clicks=-3):
    """Turn the wheel over a widget, as the mouse does: the event comes from the window."""
    centre = QPointF(widget.rect().center())
    event = QWheelEvent(
        centre, QPointF(widget.mapToGlobal(widget.rect().center())), QPoint(), QPoint(0, 120 * clicks),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def shown(editor):
    for name in ("currentText", "text", "value", "currentIndex"):
        if hasattr(editor, name):
            return getattr(editor, name)()
    return None


@pytest.mark.parametrize("name", DOCKS)
def test_the_wheel_changes_no_editor_and_scrolls_the_dock(opened, name):
    dock = opened(name)
    editors = [widget for widget in dock.findChildren(QWidget) if is_editor(widget)]
    assert editors
    area = next(area for area in dock.findChildren(QScrollArea) if type(area) is QScrollArea)
    bar = area.verticalScrollBar()
    for editor in editors:
        before = shown(editor)
        bar.setValue(0)
        turn(editor)
        assert shown(editor) == before, editor
        assert not editor.hasFocus()
        assert bar.value() > 0 or bar.maximum() == 0, editor


def test_the_wheel_changes_no_editor_that_comes_later(opened, qtbot):
    dock = opened("Deploy")
    holder = QWidget()
    combo, spin, slider, tabs = QComboBox(holder), QSpinBox(holder), QSlider(holder), QTabWidget(holder)
    combo.addItems(["one", "two", "three"])
    combo.setCurrentIndex(1)
    slider.setValue(50)
    spin.setValue(50)
    for name in ("one", "two", "three"):
        tabs.addTab(QWidget(), name)
    tabs.setCurrentIndex(1)
    dock.section.column.addWidget(holder)
    qtbot.wait(20)
    for editor in (combo, spin, slider, tabs.tabBar()):
        before = shown(editor)
        turn(editor)
        turn(editor, 3)
        turn(editor, -1)
        assert shown(editor) == before
    dock.window().activateWindow()
    spin.setFocus()
    qtbot.waitUntil(spin.hasFocus)
    turn(spin, 1)
    assert spin.value() == 51  # with the focus it is meant


def test_tab_goes_as_the_screen_is_read(opened, qtbot):
    dock = opened("Workbench")
    order = walked(dock)
    assert len(order) > 2
    places = [widget.mapTo(dock, QPoint(0, 0)) for widget in order]
    for widget, here, there in zip(order, places, places[1:], strict=False):
        below = there.y() > here.y() + 4 or not dock.content.isAncestorOf(widget)  # what scrolled is above the footer
        beside = abs(there.y() - here.y()) <= 4 and there.x() > here.x()
        assert below or beside, (widget, widget.accessibleName(), here, there)


def walked(dock):
    """Return the visible widgets of a dock in the order in which Tab reaches them."""
    first = dock
    order = []
    widget = first.nextInFocusChain()
    while widget is not first:
        stops = widget.focusPolicy() in (Qt.FocusPolicy.TabFocus, Qt.FocusPolicy.StrongFocus)
        if stops and dock.isAncestorOf(widget) and widget.isVisible() and widget.focusProxy() is None:
            order.append(widget)
        widget = widget.nextInFocusChain()
    return order


def test_every_stop_of_tab_has_a_name(opened):
    dock = opened("Workbench")
    stops = [widget for widget in walked(dock) if not isinstance(widget, QScrollArea)]
    nameless = [widget for widget in stops if not widget.accessibleName() and not says_a_word(widget)]
    assert nameless == []
    frozen = [widget for widget in stops if says_a_word(widget) and widget.accessibleName()]
    assert [widget.text() for widget in frozen if widget.text() not in widget.accessibleName()] == []


def test_a_focused_button_and_editor_look_so(opened, qtbot):
    dock = opened("Workbench")
    kinds = (QPushButton, QComboBox, QAbstractSpinBox)
    stops = [widget for widget in walked(dock) if isinstance(widget, kinds) and widget.isEnabled()]
    dock.window().activateWindow()
    for widget in stops:
        without = widget.grab().toImage()
        widget.setFocus(Qt.FocusReason.TabFocusReason)
        qtbot.waitUntil(widget.hasFocus)
        assert widget.grab().toImage() != without, widget
        widget.clearFocus()


def test_the_plate_map_is_walked_with_the_keyboard(qtbot):
    plate = PlateMap()
    qtbot.addWidget(plate)
    plate.set_positions(["A/1/0", "A/1/1", "A/3/0", "B/2/0", "C/1/0"])
    plate.set_current("A/1/0")
    plate.show()
    plate.setFocus()
    chosen = []
    plate.chosen.connect(chosen.append)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Return, Qt.Key.Key_Down, Qt.Key.Key_Space, Qt.Key.Key_Up):
        qtbot.keyClick(plate, key)
    assert chosen == ["A/3/0", "B/2/0"]
    assert plate.accessibleDescription() in ("well A/1, open", "well A/3")
    assert isinstance(plate, QWidget)
    assert not isinstance(plate, QAbstractSlider)
