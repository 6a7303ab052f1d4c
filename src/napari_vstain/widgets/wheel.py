"""The wheel scrolls the dock: an editor under it changes only when it has the focus."""

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QGraphicsView,
    QScrollArea,
    QScrollBar,
    QTabBar,
    QWidget,
)

EDITORS = (QComboBox, QAbstractSpinBox, QAbstractSlider, QTabBar, QGraphicsView)
"""What takes the wheel for itself; a scroll bar, which is a slider too, may."""


class WheelFilter(QObject):
    """Watches a widget and all that is in it, now and later, and passes on the wheel that an editor would take."""

    grown = Signal()
    """There are other widgets than before; emitted once for many."""

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self._root = root
        self._later = QTimer(self)  # a widget that is being made says so before it is one
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.watch)
        self.watch()

    def watch(self) -> None:
        """Watch what is there; watching a widget twice is watching it once."""
        for widget in (self._root, *self._root.findChildren(QWidget)):
            widget.installEventFilter(self)
            if is_editor(widget) and widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # or the wheel would give it the focus first
        self.grown.emit()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let an editor without the focus ignore the wheel, so that it goes on to what scrolls."""
        if event is None:
            return False
        if event.type() == QEvent.Type.Wheel:
            if is_editor(watched) and not watched.hasFocus():  # type: ignore[union-attr]
                scroll(watched, event)
                return True
        elif event.type() == QEvent.Type.ChildAdded:
            self._later.start()
        return False


def is_editor(widget: object) -> bool:
    """Return True for a widget that would take the wheel to change what it shows."""
    return isinstance(widget, EDITORS) and not isinstance(widget, QScrollBar)


def scroll(widget: QWidget, wheel: QEvent) -> None:
    """Turn the wheel of what scrolls around a widget, as that does with one over its empty ground."""
    around = widget.parentWidget()
    while around is not None and not isinstance(around, QScrollArea):
        around = around.parentWidget()
    bar = around.verticalScrollBar() if around is not None else None
    if bar is None:
        wheel.ignore()
    else:
        QApplication.sendEvent(bar, wheel)


def watched(root: QWidget) -> WheelFilter:
    """Return the filter that watches `root`: that of a widget around it, or a new one."""
    around: QWidget | None = root
    while around is not None:
        for child in around.children():
            if isinstance(child, WheelFilter):
                return child
        around = around.parentWidget()
    return WheelFilter(root)
