"""Layers: repainted as seldom as the window can bear, in colours and contrast that hold, exactly in place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.models.spec import Statistics
from napari_vstain.core.session import Curves
from napari_vstain.core.training import Scalars
from napari_vstain.widgets.docks.train.loss_plot import LossPlot
from napari_vstain.widgets.layers.display import colormap, ordered, sampled_limits, training_limits
from napari_vstain.widgets.layers.geometry import placement
from napari_vstain.widgets.layers.repaint import LEAST_MS, SHARE, Repainter
from napari_vstain.widgets.layers.view import drawn_rectangle, seen, visible


class Layer:
    """Counts its refreshes, and takes its time."""

    def __init__(self) -> None:
        self.calls: list[dict[str, bool]] = []

    def refresh(self, **options: bool) -> None:
        self.calls.append(options)


def test_many_asks_are_one_repaint_and_the_last_is_never_lost(qtbot):
    layer = Layer()
    repainter = Repainter(layer)
    for _ in range(100):
        repainter.ask()
    qtbot.waitUntil(lambda: len(layer.calls) == 1)
    repainter.ask()
    repainter.finish()
    qtbot.waitUntil(lambda: len(layer.calls) == 2)
    qtbot.wait(2 * LEAST_MS)
    assert [call["thumbnail"] for call in layer.calls] == [False, True]
    assert all(call["extent"] is False and call["highlight"] is False for call in layer.calls)


def test_the_pause_between_repaints_is_ten_times_what_one_takes(qtbot):
    repainter = Repainter(Layer())
    assert repainter.interval_ms == LEAST_MS
    repainter.repaint_s = 0.05
    assert repainter.interval_ms >= SHARE * 50


@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_contrast_limits_are_always_in_order(low, high):
    first, last = ordered(low, high)
    assert first < last


def test_contrast_comes_from_the_training_range_whatever_is_known_of_it():
    assert training_limits(Statistics(mean=10, std=2, median=10, iqr=2, p5=5, p99=30)) == (5, 30)
    low, high = training_limits(Statistics(mean=10, std=2, median=10, iqr=2))
    assert low < 10 < high


@pytest.mark.parametrize("image", [np.full((8, 8), np.nan), np.zeros((8, 8)), np.arange(64.0).reshape(8, 8)])
def test_contrast_of_any_image_can_be_measured(image):
    low, high = sampled_limits(image)
    assert np.isfinite([low, high]).all()
    assert low < high


def test_a_stain_has_its_colour_by_name_and_others_differ():
    assert colormap("DAPI") == colormap("Nuclei") != colormap("Membrane")
    assert colormap("x", 0) != colormap("x", 1)


def test_a_position_without_a_voxel_size_is_shown_in_pixels():
    place = placement("zyx", None, (1.0, 2.0, 3.0))
    assert place.scale == (1, 1, 1)
    assert set(place.units) == {"pixel"}
    known = placement("tyx", (2.0, 0.5, 0.25), (0.0, 3.0, 4.0))
    assert known.scale == (1, 0.5, 0.25)
    assert known.units == ("pixel", "um", "um")
    assert known.translate == (0, 3, 4)


def test_what_is_seen_is_in_pixels_of_the_full_resolution(context):
    viewer = context.viewer
    levels = [np.zeros((400, 600)), np.zeros((200, 300))]
    layer = viewer.add_image(levels, multiscale=True, scale=(0.5, 0.5))
    y, x = visible(layer)
    assert (y.start, x.start) == (0, 0)
    assert y.stop <= 400
    assert x.stop <= 600
    assert y.stop > 200


def test_the_slice_on_show_is_the_one_that_is_seen(context):
    layer = context.viewer.add_image(np.zeros((3, 5, 40, 50)), scale=(1, 2, 1, 1))
    context.viewer.dims.set_current_step(0, 2)
    context.viewer.dims.set_current_step(1, 4)
    t, z, _, _ = seen(context.viewer, layer)
    assert (t, z) == (slice(2, 3), slice(4, 5))


def test_a_rectangle_is_in_pixels_of_the_image_it_is_drawn_on(context):
    image = context.viewer.add_image(np.zeros((100, 100)), scale=(0.5, 0.5), translate=(10, 0))
    shapes = context.viewer.add_shapes([np.array([[20, 5], [30, 10]])], shape_type="rectangle")
    assert drawn_rectangle(shapes, image) == (slice(20, 40), slice(10, 20))


def test_losses_that_are_not_numbers_are_left_out_of_the_plot(context, qtbot):
    plot = LossPlot(context)
    qtbot.addWidget(plot)
    losses = Curves()
    for epoch in range(1000):
        loss = float("nan") if epoch % 2 else 1.0 / (epoch + 1)
        losses.take(Scalars(epoch, epoch, {"loss/train_epoch": loss, "lr": 0.1}))
    plot.show_losses(losses)
    assert len(plot.series["loss/train_epoch"]) == 500
    assert len(plot.series["loss/validate"]) == 0
    qtbot.waitUntil(lambda: bool(plot._curves), timeout=60_000)
    drawn = plot._curves["loss/train_epoch"]
    qtbot.waitUntil(lambda: drawn.xData is not None and len(drawn.xData) == 500, timeout=10_000)
