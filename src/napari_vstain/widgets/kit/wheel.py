"""The wheel scrolls the dock: an editor under it changes only when it has the focus."""

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QGraphicsView,
    QLabel,
    QScrollArea,
    QScrollBar,
    QTabBar,
    QWidget,
)

EDITORS = (QComboBox, QAbstractSpinBox, QAbstractSlider, QTabBar, QGraphicsView)
"""What takes the wheel for itself; a scroll bar, which is a slider too, may."""

LEAVES = (QLabel, QAbstractButton)
"""What takes no wheel and holds no widgets: each event of what is watched costs a call of Python."""


class WheelFilter(QObject):
    """Watches a widget and all that is in it, now and later, and passes on the wheel that an editor would take."""

    grown = Signal()
    """There are other widgets than before; emitted once for many."""

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self._grown: list[QObject] = [root]
        """Whose children have become more since they were watched."""
        self._later = QTimer(self)  # a widget that is being made says so before it is one
        self._later.setSingleShot(True)
        self._later.setInterval(0)
        self._later.timeout.connect(self.watch)
        self.watch()

    def watch(self) -> None:
        """Watch what has come; watching a widget twice is watching it once."""
        parents, self._grown = [parent for parent in self._grown if isalive(parent)], []
        for parent in parents:
            for widget in (parent, *parent.findChildren(QWidget)):
                if isinstance(widget, LEAVES):
                    continue
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
        elif event.type() == QEvent.Type.ChildAdded and watched is not None:
            if watched not in self._grown:
                self._grown.append(watched)
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
