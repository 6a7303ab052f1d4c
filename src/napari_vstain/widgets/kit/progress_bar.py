"""A progress bar that waits for the window's next paint; Qt's own repaints all of it, canvas included, at once."""

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

HEIGHT = 6


class ProgressBar(QWidget):
    """A thin bar; a paler one while it is not known how much there is to do."""

    def __init__(self) -> None:
        super().__init__()
        self.share: float | None = None
        """What is done, 0 to 1, or None when unknown."""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_progress(self, done: float, total: float | None) -> None:
        """Show how much is done of how much."""
        share = min(done / total, 1.0) if total else None
        if share != self.share:
            self.share = share
            self.update()

    def sizeHint(self) -> QSize:
        """As thin as it is."""
        return QSize(120, HEIGHT)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw groove and progress."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        whole = QRectF(self.rect())
        palette = self.palette()  # from the dock's style sheet
        painter.setBrush(palette.alternateBase())
        if self.share is None:
            painter.setBrush(QColor(*palette.highlight().color().getRgb()[:3], 110))
        painter.drawRoundedRect(whole, 3, 3)
        if self.share:
            whole.setWidth(max(whole.width() * self.share, HEIGHT))
            painter.setBrush(palette.highlight())
            painter.drawRoundedRect(whole, 3, 3)
