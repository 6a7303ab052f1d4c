"""A dock shows one section, or all of them stacked, above a footer that never scrolls away."""

from typing import Any

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_vstain.widgets.footer import Footer
from napari_vstain.widgets.kit.colours import Theme
from napari_vstain.widgets.kit.style import MAX_WIDTH, MIN_WIDTH, style_sheet
from napari_vstain.widgets.kit.tab_order import TabOrder
from napari_vstain.widgets.kit.wheel import WheelFilter
from napari_vstain.widgets.section import Section
from napari_vstain.widgets.viewer_context import context_of


class Dock(QWidget):
    """What napari docks: a scroll area with its content, and the footer."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.context = context_of(viewer)
        self.content = QWidget()
        self.inside = QVBoxLayout(self.content)
        self.inside.setContentsMargins(0, 0, 0, 0)
        self.inside.setSpacing(0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._theme: Theme | None = None
        self.wheel = WheelFilter(self)
        self.wheel.grown.connect(self._arrange)
        self._order = TabOrder(self)
        column.addWidget(_scrolled(self.content), 1)
        column.addWidget(Footer(self.context))
        self.setMinimumWidth(MIN_WIDTH + 20)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """As wide as a section may be, and as high as there is room."""
        return QSize(MAX_WIDTH, 640)

    def event(self, event: QEvent | None) -> bool:
        """Take the window's colours once the dock is in its window: each widget is styled anew at each change."""
        if event is not None and event.type() == QEvent.Type.Polish:
            self._dress()
        return bool(super().event(event))

    def changeEvent(self, event: QEvent | None) -> None:
        """Take the colours of another theme: napari tells only by a style of its own."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange and self._theme is not None:
            self._dress()

    def _dress(self) -> None:
        theme = self.context.theme
        if theme != self._theme:
            self._theme = theme
            self.setStyleSheet(style_sheet(theme))

    def _arrange(self) -> None:
        self._order.arrange()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Learn which window holds the dock."""
        super().showEvent(event)
        self.context.attach(self)


class SectionDock(Dock):
    """One section in a dock of its own."""

    section_class: type[Section]

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.section = self.section_class(self.context)
        self.inside.addWidget(self.section)
        self.inside.addStretch(1)


def _scrolled(content: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
