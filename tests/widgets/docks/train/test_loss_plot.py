"""The loss curve: whole epochs on its axis, its legend beside it, its ground that of the window."""

import pytest

from napari_vstain.core.session import Curves
from napari_vstain.core.training import Scalars
from napari_vstain.widgets.docks.train.loss_plot import LossPlot
from napari_vstain.widgets.kit.colours import LEAST, Colour, contrast


@pytest.fixture
def plot(context, qtbot):
    made = LossPlot(context)
    qtbot.addWidget(made)
    losses = Curves()
    for step in range(20):
        losses.take(Scalars(step, (step + 1) / 10, {"loss/train_step": 1 / (step + 1)}))
    losses.take(Scalars(10, 1, {"loss/train_epoch": 0.5, "loss/validate": 0.6, "pearson/Nuclei": 0.9, "lr": 1e-3}))
    losses.take(Scalars(20, 2, {"loss/train_epoch": float("nan"), "pearson/Nuclei": 0.9, "lr": 1e-3}))
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
    assert contrast(Colour.of(plot._hue("loss/train_epoch")), ground) >= LEAST
    assert contrast(Colour.of(plot._hue("loss/validate")), ground) >= LEAST
    assert plot._plot.backgroundBrush().color() == plot.palette().window().color()


def test_what_is_not_a_number_is_no_point(plot):
    assert [len(series) for series in plot.series.values()] == [20, 1, 1]


def test_a_loss_of_any_name_is_drawn_from_when_it_is_first_said(plot, qtbot):
    plot._losses.take(Scalars(30, 3, {"loss/validate/cells <3": 0.2, "dice/cells": 0.8}))
    plot.ask()
    qtbot.waitUntil(lambda: "loss/validate/cells <3" in plot._curves, timeout=10_000)
    assert plot._curves["loss/validate/cells <3"].getData()[1].tolist() == [0.2]
    assert "validate cells &lt;3" in plot.legend.text()
    assert "dice/cells" not in plot._curves
    hues = {plot._hue(name) for name in plot._of_epochs()}
    assert len(hues) == 3
