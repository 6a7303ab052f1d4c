"""Every text can be read, in napari's dark theme and in its light one: the contrast is measured on the screen."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QPoint
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QLabel, QLineEdit, QWidget

from napari_vstain.core.session import Curves, open_path
from napari_vstain.widgets.kit.colours import LEAST, Colour, contrast, readable
from napari_vstain.widgets.section import Condition, Section

colours = st.builds(Colour, *[st.integers(0, 255)] * 3)


@given(text=colours, behind=colours)
def test_a_readable_colour_can_be_read_and_one_that_could_be_before_is_left_alone(text, behind):
    assert contrast(readable(text, behind), behind) >= LEAST
    if contrast(text, behind) >= LEAST:
        assert readable(text, behind) == text


@pytest.fixture
def sharp_text():
    """Letters without grey edges, so that their colour is on the screen as it is meant."""
    font = QApplication.font()
    before = QFont(font)
    font.setStyleStrategy(QFont.StyleStrategy.NoAntialias)
    QApplication.setFont(font)
    yield
    QApplication.setFont(before)


def texts(root: QWidget):
    """Yield the visible widgets that show a text."""
    for widget in root.findChildren(QWidget):
        if isinstance(widget, QLabel | QAbstractButton | QLineEdit | QComboBox) and widget.isVisible():
            text = widget.currentText() if isinstance(widget, QComboBox) else widget.text()
            if text.strip() and widget.visibleRegion().boundingRect().height() > 6:
                yield widget, text


def measured(image, widget: QWidget, root: QWidget) -> float:
    """Return the best contrast of a colour in a widget to the one that it mostly shows."""
    corner = widget.mapTo(root, QPoint(0, 0))
    shown = Counter(
        Colour(*image.pixelColor(corner.x() + x, corner.y() + y).getRgb()[:3])
        for x in range(2, min(widget.width(), image.width() - corner.x()) - 2)
        for y in range(2, min(widget.height(), image.height() - corner.y()) - 2)
    )
    behind = shown.most_common(1)[0][0]
    return max(contrast(colour, behind) for colour, number in shown.items() if number >= 4)


def unreadable(dock: QWidget) -> dict[str, float]:
    image = dock.grab().toImage()
    found = {text[:40]: measured(image, widget, dock) for widget, text in texts(dock)}
    assert len(found) > 8
    return {text: round(value, 2) for text, value in found.items() if value < LEAST}


@pytest.mark.parametrize("begin", ["dark", "light"])
def test_every_visible_text_can_be_read_in_both_themes(make_napari_viewer_proxy, qtbot, workspace, sharp_text, begin):
    viewer = make_napari_viewer_proxy(show=True)
    viewer.theme = begin
    _, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")
    dock.context.session.adopt(open_path(workspace.root))
    losses = Curves()
    for step, (section, condition) in enumerate(zip(dock.findChildren(Section), Condition, strict=False)):
        section.setVisible(True)
        section.problem.setText("Something that went wrong, in a sentence.")
        section.problem.setVisible(True)
        section.set_state(condition, f"state {step}")
    train = next(section for section in dock.findChildren(Section) if section.title == "Train")
    train.plot.show_losses(losses)
    train.form.setEnabled(False)
    dock.setFixedSize(420, 2400)
    qtbot.wait(100)
    assert unreadable(dock) == {}
    viewer.theme = "light" if begin == "dark" else "dark"
    qtbot.wait(100)
    assert unreadable(dock) == {}
    assert dock.context.session.close(timeout_s=20)
