"""The loss as it falls, of one task or of many: drawn at most a few times a second, whatever comes in."""

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Curves, Series
from napari_vstain.core.training.results import BATCH_LOSS, BY_BATCH, TRAIN_LOSS, VALIDATION_LOSS
from napari_vstain.widgets.kit.colours import Colour, readable

if TYPE_CHECKING:
    from napari_vstain.widgets.viewer_context import ViewerContext

HEIGHT = 190
REDRAW_MS = 1000
_KNOWN = {TRAIN_LOSS: "training", VALIDATION_LOSS: "validation"}
"""Drawn, and named in the legend, before there is any."""
_HUES = ("#4aa3ff", "#f5a742", "#5fbf6b", "#c58af9", "#e8706f", "#41c7c7", "#b5a642", "#9aa5b1")
"""Of the curves, in their order; beyond these they begin again."""
_WIDE = 100


class LossPlot(QWidget):
    """The losses against the epoch, by batch and by epoch; pyqtgraph is loaded off the main thread."""

    def __init__(self, context: "ViewerContext") -> None:
        super().__init__()
        self._losses = Curves()
        self._context = context
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
        """What is drawn, by name: all of the kind that the loss is of."""
        known = {name: Series() for name in (BATCH_LOSS, *_KNOWN)} | self._losses.series
        return {name: series for name, series in known.items() if _kind(name) == _kind(TRAIN_LOSS)}

    def show_losses(self, losses: Curves) -> None:
        """Draw these losses, from the first on; they may still grow, see `ask`."""
        self._losses = losses
        self.setVisible(True)
        if not self._curves:
            self._context.pump.call(self._context.session, load_pyqtgraph, self._make, lambda _: None, self)
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
        for name, curve in self._curves.items():
            if name.endswith(BY_BATCH):
                curve.setPen(mkPen(faint, width=1))
                continue
            colour = self._hue(name)
            curve.setPen(mkPen(colour, width=2))
            curve.setSymbol("o")
            curve.setSymbolSize(4)
            curve.setSymbolBrush(colour)
            curve.setSymbolPen(None)
        for side in ("bottom", "left"):
            self._plot.getAxis(side).setPen(ink)
            self._plot.getAxis(side).setTextPen(ink)

    def _colour_legend(self) -> None:
        words = (
            f'<span style="color: {self._hue(name)}">●&nbsp;{escape(_title(name))}</span>' for name in self._of_epochs()
        )
        self.legend.setText("&nbsp;&nbsp; ".join(words))

    def _hue(self, name: str) -> str:
        """Return a curve's colour, which its name in the legend can be read in too."""
        ground = Colour(*self.palette().window().color().getRgb()[:3])
        hue = _HUES[self._of_epochs().index(name) % len(_HUES)]
        return str(readable(Colour.of(hue), ground))

    def _of_epochs(self) -> list[str]:
        return [name for name in self.series if not name.endswith(BY_BATCH)]

    def _draw(self) -> None:
        shown = self.series
        if self._plot is not None and (begun := shown.keys() - self._curves.keys()):
            self._curves |= {name: self._plot.plot() for name in shown if name in begun}
            self._colour_legend()
            self._colour()
        positive = _spans_decades([series.xy[1] for series in shown.values()])
        for name, curve in self._curves.items():
            curve.setLogMode(False, positive)
            curve.setData(*shown[name].xy if name in shown else ([], []))
        if self._plot is not None:
            self._plot.getAxis("left").setLogMode(positive)


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _title(name: str) -> str:
    """Return what the legend calls a loss: ``training``, or ``train nuclei`` for a task's own."""
    return _KNOWN.get(name) or name.partition("/")[2].replace("/", " ")


def _spans_decades(losses: list[Any]) -> bool:
    """Return True if the losses are above 0 and so far apart that a logarithm shows them best."""
    values = np.concatenate(losses)
    return bool(values.size and values.min() > 0 and values.max() > _WIDE * values.min())


def load_pyqtgraph(progress: Progress) -> Any:
    """Import pyqtgraph and return it; takes half a second, so never on the main thread."""
    import pyqtgraph

    return pyqtgraph
