"""The loss as it falls: drawn at most a few times a second, whatever comes in."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_vstain.core.progress import Progress

if TYPE_CHECKING:
    from napari_vstain.widgets.desk import Desk

HEIGHT = 150
REDRAW_MS = 1000
_TRAIN, _VALIDATION, _BATCH = "#4aa3ff", "#f5a742", (120, 130, 145, 110)
_SMALLEST = 256
_WIDE = 100


class Series:
    """Points that grow without being copied at every one."""

    def __init__(self) -> None:
        self._points = np.empty((2, _SMALLEST))
        self._count = 0

    def add(self, x: float, y: float) -> None:
        """Append a point; one that is not finite is left out."""
        if not np.isfinite(y):
            return
        if self._count == self._points.shape[1]:
            self._points = np.concatenate([self._points, np.empty_like(self._points)], axis=1)
        self._points[:, self._count] = x, y
        self._count += 1

    def clear(self) -> None:
        """Forget every point."""
        self._count = 0

    @property
    def xy(self) -> tuple[Any, Any]:
        """The points, as two views."""
        return self._points[0, : self._count], self._points[1, : self._count]

    def __len__(self) -> int:
        return self._count


class LossPlot(QWidget):
    """Batch, training and validation loss against the epoch; pyqtgraph is loaded off the main thread."""

    def __init__(self, desk: "Desk") -> None:
        super().__init__()
        self.series = {name: Series() for name in ("batch", "training", "validation")}
        self._desk = desk
        self._curves: dict[str, Any] = {}
        self._plot: Any = None
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.setFixedHeight(HEIGHT)
        self.setVisible(False)
        self._redraw = QTimer(self)
        self._redraw.setSingleShot(True)
        self._redraw.setInterval(REDRAW_MS)
        self._redraw.timeout.connect(self._draw)

    def begin(self) -> None:
        """Forget the former training."""
        for series in self.series.values():
            series.clear()
        self.setVisible(True)
        if not self._curves:
            self._desk.pump.call(self._desk.session, load_pyqtgraph, self._make, lambda _: None, self)
        self._ask()

    def add(self, name: str, epoch: float, loss: float | None) -> None:
        """Add a point to ``batch``, ``training`` or ``validation``; None is no point."""
        if loss is not None:
            self.series[name].add(epoch, loss)
            self._ask()

    def _ask(self) -> None:
        if not self._redraw.isActive():
            self._redraw.start()

    def _make(self, pyqtgraph: Any) -> None:
        if self._curves:
            return
        plot = self._plot = pyqtgraph.PlotWidget(background=None)
        plot.setLabel("bottom", "epoch")
        plot.setLabel("left", "loss")
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.showGrid(x=False, y=True, alpha=0.15)
        plot.addLegend(offset=(-4, 4), labelTextSize="8pt")
        pen = pyqtgraph.mkPen
        self._curves = {
            "batch": plot.plot(pen=pen(_BATCH, width=1)),
            "training": plot.plot(pen=pen(_TRAIN, width=2), symbol="o", symbolSize=4, symbolBrush=_TRAIN,
                                  symbolPen=None, name="training"),
            "validation": plot.plot(pen=pen(_VALIDATION, width=2), symbol="o", symbolSize=4,
                                    symbolBrush=_VALIDATION, symbolPen=None, name="validation"),
        }  # fmt: skip
        self._column.addWidget(plot)
        self._ask()

    def _draw(self) -> None:
        positive = _spans_decades([series.xy[1] for series in self.series.values()])
        for name, curve in self._curves.items():
            curve.setLogMode(False, positive)
            curve.setData(*self.series[name].xy)
        if self._plot is not None:
            self._plot.getAxis("left").setLogMode(positive)


def _spans_decades(losses: list[Any]) -> bool:
    """Return True if the losses are above 0 and so far apart that a logarithm shows them best."""
    values = np.concatenate(losses)
    return bool(values.size and values.min() > 0 and values.max() > _WIDE * values.min())


def load_pyqtgraph(progress: Progress) -> Any:
    """Import pyqtgraph and return it; takes half a second, so never on the main thread."""
    import pyqtgraph

    return pyqtgraph
