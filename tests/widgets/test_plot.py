"""The loss curve: whole epochs on its axis, its legend beside it, its ground that of the window."""

from types import SimpleNamespace

import pytest

from napari_vstain.core.session import Losses
from napari_vstain.widgets.colours import LEAST, Colour, contrast
from napari_vstain.widgets.plot import LossPlot


@pytest.fixture
def plot(desk, qtbot):
    made = LossPlot(desk)
    qtbot.addWidget(made)
    losses = Losses()
    for step in range(20):
        losses.take(SimpleNamespace(loss=1 / (step + 1), epoch=(step + 1) / 10))
    losses.take(SimpleNamespace(train_loss=0.5, validation_loss=0.6, epoch=0))
    losses.take(SimpleNamespace(train_loss=float("nan"), validation_loss=None, epoch=1))
    made.show_losses(losses)
    made.show()
    qtbot.waitUntil(lambda: made._plot is not None, timeout=60_000)
    return made


def test_the_axes_count_epochs_and_losses_as_they_are(plot):
    for side, label in (("bottom", "epoch"), ("left", "loss")):
        axis = plot._plot.getAxis(side)
        axis.setScale(1)
        assert label in axis.labelString()
        assert "x0.001" not in axis.labelString()


def test_the_legend_lies_outside_the_plot_and_can_be_read(plot):
    assert "training" in plot.legend.text()
    assert "validation" in plot.legend.text()
    assert plot._plot.getPlotItem().legend is None
    ground = Colour(*plot.palette().window().color().getRgb()[:3])
    assert contrast(Colour.of(plot._hue("training")), ground) >= LEAST
    assert contrast(Colour.of(plot._hue("validation")), ground) >= LEAST
    assert plot._plot.backgroundBrush().color() == plot.palette().window().color()


def test_what_is_not_a_number_is_no_point(plot):
    assert [len(series) for series in plot.series.values()] == [20, 1, 1]
