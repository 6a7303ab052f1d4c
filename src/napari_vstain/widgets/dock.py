"""A dock shows one section, or all of them stacked, above a footer that never scrolls away."""

from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_vstain.widgets.access import make_accessible
from napari_vstain.widgets.desk import desk_of
from napari_vstain.widgets.footer import Footer
from napari_vstain.widgets.section import Section
from napari_vstain.widgets.style import MAX_WIDTH, MIN_WIDTH, style_sheet
from napari_vstain.widgets.wheel import WheelFilter


class Dock(QWidget):
    """What napari docks: a scroll area with its content, and the footer."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.desk = desk_of(viewer)
        self.content = QWidget()
        self.inside = QVBoxLayout(self.content)
        self.inside.setContentsMargins(0, 0, 0, 0)
        self.inside.setSpacing(0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._theme = self.desk.theme
        self.setStyleSheet(style_sheet(self._theme))
        self.wheel = WheelFilter(self)
        self.wheel.grown.connect(self._arrange)
        column.addWidget(_scrolled(self.content), 1)
        column.addWidget(Footer(self.desk))
        self.setMinimumWidth(MIN_WIDTH + 20)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """As wide as a section may be, and as high as there is room."""
        return QSize(MAX_WIDTH, 640)

    def changeEvent(self, event: QEvent | None) -> None:
        """Take the colours of another theme: napari tells only by a style of its own."""
        super().changeEvent(event)
        if event is None or event.type() != QEvent.Type.StyleChange:
            return
        theme = self.desk.theme
        if theme != self._theme:
            self._theme = theme
            self.setStyleSheet(style_sheet(theme))

    def _arrange(self) -> None:
        make_accessible(self)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Learn which window holds the dock."""
        super().showEvent(event)
        self.desk.moved_in(self)


class SectionDock(Dock):
    """One section in a dock of its own."""

    section_class: type[Section]

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.section = self.section_class(self.desk)
        self.inside.addWidget(self.section)
        self.inside.addStretch(1)


def _scrolled(content: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
