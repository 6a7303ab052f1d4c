"""The loss as it falls: drawn at most a few times a second, whatever comes in."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Losses, Series

if TYPE_CHECKING:
    from napari_vstain.widgets.desk import Desk

HEIGHT = 150
REDRAW_MS = 1000
_TRAIN, _VALIDATION, _BATCH = "#4aa3ff", "#f5a742", (120, 130, 145, 110)
_WIDE = 100


class LossPlot(QWidget):
    """Batch, training and validation loss against the epoch; pyqtgraph is loaded off the main thread."""

    def __init__(self, desk: "Desk") -> None:
        super().__init__()
        self._losses = Losses()
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

    @property
    def series(self) -> dict[str, Series]:
        """What is drawn, by name."""
        return self._losses.series

    def show_losses(self, losses: Losses) -> None:
        """Draw these losses, from the first on; they may still grow, see `ask`."""
        self._losses = losses
        self.setVisible(True)
        if not self._curves:
            self._desk.pump.call(self._desk.session, load_pyqtgraph, self._make, lambda _: None, self)
        self.ask()

    def ask(self) -> None:
        """Draw soon what has come."""
        if not self._redraw.isActive():
            self._redraw.start()

    @property
    def empty(self) -> bool:
        """True while there is nothing to draw."""
        return not any(len(series) for series in self.series.values())

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
        self.ask()

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
