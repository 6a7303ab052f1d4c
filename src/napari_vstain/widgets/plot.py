"""The loss as it falls: drawn at most a few times a second, whatever comes in."""

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Losses, Series
from napari_vstain.widgets.colours import Colour, readable

if TYPE_CHECKING:
    from napari_vstain.widgets.desk import Desk

HEIGHT = 190
REDRAW_MS = 1000
_HUES = {"training": "#4aa3ff", "validation": "#f5a742"}
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
        self._column.setSpacing(2)
        self.legend = QLabel()  # above the plot: in it, it would lie on the curves
        self._column.addWidget(self.legend)
        self._colour_legend()
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
        for side in ("bottom", "left"):
            plot.getAxis(side).enableAutoSIPrefix(False)  # epochs are no kilo-epochs
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # nothing can be done in it, and the wheel scrolls the dock
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.getPlotItem().layout.setContentsMargins(0, 4, 8, 6)  # or the label of the epochs is cut
        plot.showGrid(x=False, y=True, alpha=0.15)
        self._curves = {name: plot.plot() for name in self.series}
        self._column.addWidget(plot)
        self._colour()
        self.ask()

    def changeEvent(self, event: QEvent | None) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange:
            self._colour_legend()
            self._colour()

    def _colour(self) -> None:
        if self._plot is None:
            return
        from pyqtgraph import mkPen

        self._plot.setBackground(self.palette().window().color())  # what is behind it is kept, and would stay as it was
        ink = self.palette().windowText().color()
        faint = self.palette().alternateBase().color()
        self._curves["batch"].setPen(mkPen(faint, width=1))
        for name in _HUES:
            curve, colour = self._curves[name], self._hue(name)
            curve.setPen(mkPen(colour, width=2))
            curve.setSymbol("o")
            curve.setSymbolSize(4)
            curve.setSymbolBrush(colour)
            curve.setSymbolPen(None)
        for side in ("bottom", "left"):
            self._plot.getAxis(side).setPen(ink)
            self._plot.getAxis(side).setTextPen(ink)

    def _colour_legend(self) -> None:
        words = (f'<span style="color: {self._hue(name)}">●&nbsp;{name}</span>' for name in _HUES)
        self.legend.setText("&nbsp;&nbsp; ".join(words))

    def _hue(self, name: str) -> str:
        """Return a curve's colour, which its name in the legend can be read in too."""
        ground = Colour(*self.palette().window().color().getRgb()[:3])
        return str(readable(Colour.of(_HUES[name]), ground))

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
