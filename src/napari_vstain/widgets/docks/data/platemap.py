"""A small map of the plate: which wells have images, which one is open; a click goes there."""

from qtpy.QtCore import QPoint, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

_CELL = 20
_LABEL = 16
_ARROWS = {
    Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0),
}  # fmt: skip


class PlateMap(QWidget):
    """Wells as a grid of dots, rows and columns as the plate names them.

    A click goes to a well. With the keyboard, arrows move a ring from well to well, and Enter or Space goes there.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[tuple[str, str], str] = {}
        self._rows: list[str] = []
        self._columns: list[str] = []
        self._current: tuple[str, str] | None = None
        self._ring: tuple[str, str] | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Plate map")
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def set_positions(self, keys: list[str]) -> None:
        """Show the wells of these positions, ``row/column/field``."""
        wells = [(key.split("/")[0], key.split("/")[1]) for key in keys]
        self._first = dict(zip(reversed(wells), reversed(keys), strict=True))
        self._rows = sorted({row for row, _ in wells}, key=_natural)
        self._columns = sorted({column for _, column in wells}, key=_natural)
        self.updateGeometry()
        self.update()

    def set_current(self, key: str) -> None:
        """Mark the well of a position."""
        row, column, *_ = key.split("/")
        self._current = (row, column)
        self._move_ring(self._current)

    def sizeHint(self) -> QSize:
        """As high as the rows need, at most a third of a dock."""
        return QSize(200, _LABEL + int(self._cell() * max(len(self._rows), 1)) + 2)

    minimumSizeHint = sizeHint

    def centre(self, row: str, column: str) -> QPoint:
        """Return where a well is drawn."""
        return self._square(self._rows.index(row), self._columns.index(column)).center().toPoint()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the wells."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        self._draw_labels(painter)
        for y, row in enumerate(self._rows):
            for x, column in enumerate(self._columns):
                ringed = (row, column) == self._ring and self.hasFocus()
                painter.setPen(QPen(self.palette().highlightedText(), 2) if ringed else QPen(Qt.PenStyle.NoPen))
                painter.setBrush(self._colour(row, column))
                painter.drawEllipse(self._square(y, x).adjusted(2, 2, -2, -2))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Go to the well under the mouse."""
        if event is not None and (key := self._key_at(event.pos())):
            self.chosen.emit(key)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Move the ring with the arrows, and go to its well with Enter or Space."""
        if event is None or self._ring is None:
            return
        key = Qt.Key(event.key())
        if key in _ARROWS:
            self._move_ring(self._next(*_ARROWS[key]))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.chosen.emit(self._first[self._ring])
        else:
            super().keyPressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Name the well under the mouse."""
        key = self._key_at(event.pos()) if event is not None else ""
        self.setToolTip(key.rsplit("/", 1)[0] if key else "")

    def _draw_labels(self, painter: QPainter) -> None:
        painter.setPen(self.palette().windowText().color())
        centre = Qt.AlignmentFlag.AlignCenter
        for x, column in enumerate(self._columns):
            square = self._square(0, x)
            painter.drawText(QRectF(square.x(), 0, square.width(), _LABEL), centre, column)
        for y, row in enumerate(self._rows):
            square = self._square(y, 0)
            painter.drawText(QRectF(0, square.y(), _LABEL, square.height()), centre, row)

    def _next(self, down: int, right: int) -> tuple[str, str]:
        """Return the nearest filled well in a direction; where there is none, the one of the ring."""
        assert self._ring is not None
        at = self._rows.index(self._ring[0]), self._columns.index(self._ring[1])
        wells = [(self._rows.index(row), self._columns.index(column)) for row, column in self._first]
        ahead = [(y - at[0], x - at[1]) for y, x in wells if (y - at[0]) * down + (x - at[1]) * right > 0]
        if not ahead:
            return self._ring
        y, x = min(ahead, key=lambda step: (abs(step[0] * right) + abs(step[1] * down), abs(step[0]) + abs(step[1])))
        return self._rows[at[0] + y], self._columns[at[1] + x]

    def _move_ring(self, well: tuple[str, str]) -> None:
        self._ring = well
        self.setAccessibleDescription(f"well {'/'.join(well)}{', open' if well == self._current else ''}")
        self.update()

    def _colour(self, row: str, column: str) -> QBrush:
        palette = self.palette()  # from the dock's style sheet
        if (row, column) == self._current:
            return palette.highlight()
        return palette.windowText() if (row, column) in self._first else palette.alternateBase()

    def _cell(self) -> float:
        wide = max(self.width(), 200) - _LABEL
        return float(min(_CELL, wide / max(len(self._columns), 1)))

    def _square(self, y: int, x: int) -> QRectF:
        cell = self._cell()
        return QRectF(_LABEL + x * cell, _LABEL + y * cell, cell, cell)

    def _key_at(self, point: QPoint) -> str:
        x, y = int((point.x() - _LABEL) // self._cell()), int((point.y() - _LABEL) // self._cell())
        if not (0 <= x < len(self._columns) and 0 <= y < len(self._rows)):
            return ""
        return self._first.get((self._rows[y], self._columns[x]), "")


def _natural(name: str) -> tuple[int, str]:
    """Sort ``2`` before ``10``, and ``Z`` before ``AA``."""
    return (int(name), "") if name.isdigit() else (len(name), name)
