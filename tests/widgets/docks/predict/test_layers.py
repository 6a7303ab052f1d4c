"""Prediction layers: named by what they are, kept for the return, at the scale of the target, gone with their job."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_vstain.widgets.docks.data import DataSection
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.layers import predictions as keeping
from napari_vstain.widgets.section import Condition

PATIENCE_MS = 120_000


@pytest.fixture
def section(context, qtbot, checkpoint):
    made = PredictSection(context)
    qtbot.addWidget(made)
    choose(made, qtbot, checkpoint)
    return made


@pytest.fixture
def data(context, qtbot, plate, section):
    """The plate, open and shown."""
    made = DataSection(context)
    qtbot.addWidget(made)
    made.open(plate)
    shown(context, qtbot, "A/1/0")
    return made


@pytest.fixture
def other(tmp_path, checkpoint):
    """Another model of the same stain."""
    import torch

    from napari_vstain.core.models.files.checkpoint import load_checkpoint, save_checkpoint

    spec, network = load_checkpoint(checkpoint)
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(0.5)
    save_checkpoint(tmp_path / "other.ckpt", spec, network)
    return tmp_path / "other.ckpt"


def choose(section, qtbot, path):
    section.use_file(path)
    qtbot.waitUntil(
        lambda: section.session.model is not None and section.session.model.path == path, timeout=PATIENCE_MS
    )


def shown(context, qtbot, key):
    """Wait until a position's measured channels, and no other's, are on the canvas."""

    def there():
        found = [origin.position for _, origin in context.registry.shown(context.viewer, "source", "target")]
        return found == [key] * 3

    qtbot.waitUntil(there, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: not context.session.jobs, timeout=PATIENCE_MS)


def go(data, qtbot, key):
    """Go to a position by a click on the plate map or the arrows."""
    data.context.opener.go(key)
    shown(data.context, qtbot, key)


def predict(section, qtbot):
    """Press the button; return the layers that are painted."""
    qtbot.mouseClick(section.go, Qt.MouseButton.LeftButton)
    assert section.problem.isHidden(), section.problem.text()
    layers = section.live_prediction.shown.layers
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    return layers


def made(context):
    """Return the predictions on the canvas."""
    return [layer for layer, _ in context.registry.shown(context.viewer, "prediction")]


def test_a_position_shows_its_earlier_prediction_again_and_none_of_another(section, data, context, qtbot):
    (first,) = predict(section, qtbot)
    assert first.name == "Nuclei_prediction · A/1/0 · untrained.ckpt"
    pixels = first.data.copy()
    go(data, qtbot, "B/2/1")
    assert made(context) == []
    (second,) = predict(section, qtbot)
    assert second.name == "Nuclei_prediction · B/2/1 · untrained.ckpt"
    go(data, qtbot, "A/1/0")
    qtbot.waitUntil(lambda: made(context) == [first], timeout=PATIENCE_MS)
    np.testing.assert_array_equal(first.data, pixels)
    assert first.visible
    assert predict(section, qtbot) == [first]


def test_what_was_left_is_forgotten_when_it_takes_too_much(section, data, context, qtbot, monkeypatch):
    monkeypatch.setattr(keeping, "KEPT_BYTES", 0)
    predict(section, qtbot)
    go(data, qtbot, "B/2/1")
    go(data, qtbot, "A/1/0")
    assert made(context) == []


def test_the_prediction_of_an_earlier_model_is_hidden(section, data, context, qtbot, other):
    (first,) = predict(section, qtbot)
    choose(section, qtbot, other)
    (second,) = predict(section, qtbot)
    assert second is not first
    assert [layer.name for layer in made(context) if layer.visible] == ["Nuclei_prediction · A/1/0 · other.ckpt"]
    assert first in context.viewer.layers
    assert second.colormap.name == first.colormap.name == context.viewer.layers["Nuclei"].colormap.name


def test_a_prediction_that_is_deleted_is_made_anew(section, data, context, qtbot):
    (first,) = predict(section, qtbot)
    context.viewer.layers.remove(first)
    go(data, qtbot, "B/2/1")
    go(data, qtbot, "A/1/0")
    assert made(context) == []
    assert predict(section, qtbot) != [first]


def test_target_and_prediction_are_at_one_scale_until_they_are_unlinked(section, data, context, qtbot):
    target = context.viewer.layers["Nuclei"]
    assert section.outcome.link.isHidden()
    (layer,) = predict(section, qtbot)
    assert tuple(layer.contrast_limits) == tuple(target.contrast_limits)
    layer.contrast_limits = (90, 300)
    assert tuple(target.contrast_limits) == (90, 300)
    assert not section.outcome.link.isHidden()
    go(data, qtbot, "A/1/1")
    assert tuple(context.viewer.layers["Nuclei"].contrast_limits) == (90, 300)  # what a person set holds
    (there,) = predict(section, qtbot)
    assert tuple(there.contrast_limits) == (90, 300)
    qtbot.keyClick(section.outcome.link, Qt.Key.Key_Space)
    assert not context.contrast.linked
    there.contrast_limits = (1, 2)
    assert tuple(context.viewer.layers["Nuclei"].contrast_limits) != (1, 2)
    qtbot.keyClick(section.outcome.link, Qt.Key.Key_Space)
    assert tuple(there.contrast_limits) == tuple(context.viewer.layers["Nuclei"].contrast_limits)


def test_a_flip_is_offered_only_where_there_is_a_target(section, data, context, qtbot, field):
    predict(section, qtbot)
    assert "Hold H" in section.result.text()
    assert section.now.condition is Condition.DONE
    go(data, qtbot, "A/1/1")
    assert section.result.text().startswith("Predicted A/1/0 (")
    assert "Hold" not in section.result.text()
    assert section.now.condition is Condition.READY
    context.viewer.layers.clear()
    context.viewer.add_image(field, name="mine")
    context.session.choose_image("Phase", next(iter(section.inputs._images)).key)
    predict(section, qtbot)
    assert section.result.text().startswith("Predicted mine (0.052 Mpx")
    assert "Hold" not in section.result.text()


@pytest.mark.parametrize("which", ["source", "prediction", "position"])
def test_a_prediction_whose_layer_goes_is_stopped(section, data, context, qtbot, which, tmp_path):
    from napari_vstain.core.data import create_plate

    with create_plate(tmp_path / "large.zarr", ["Phase", "Nuclei"]) as plate:
        for key in ("A/1/0", "A/1/1"):
            plate.add_position(key, (1, 2, 1, 3000, 3000), "uint16")[:] = 1000
    data.open(tmp_path / "large.zarr")
    qtbot.waitUntil(lambda: [layer.name for layer in context.viewer.layers] == ["Phase", "Nuclei"], timeout=PATIENCE_MS)
    qtbot.mouseClick(section.go, Qt.MouseButton.LeftButton)
    job, (layer,) = section.job, section.live_prediction.shown.layers
    assert job.name == "Predicting A/1/0"
    qtbot.waitUntil(lambda: bool(np.isfinite(layer.data[::50, ::50]).any()), timeout=PATIENCE_MS)
    if which == "position":
        context.opener.step(1)
    else:
        context.viewer.layers.remove("Phase" if which == "source" else layer)
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert not job.running
    assert "Stopped" in section.result.text()
    assert not np.isfinite(layer.data).all()


def test_a_repeated_prediction_begins_on_a_cleared_layer(section, context, qtbot):
    context.viewer.add_image(np.random.default_rng(3).normal(1000, 300, (1500, 1500)).astype(np.float32), name="Phase")
    (layer,) = predict(section, qtbot)
    assert np.isfinite(layer.data).all()
    qtbot.mouseClick(section.go, Qt.MouseButton.LeftButton)
    assert not np.isfinite(layer.data).any()
    qtbot.mouseClick(section.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)


def test_a_dock_that_opens_during_a_prediction_shows_it_and_stops_it(section, context, qtbot):
    context.viewer.add_image(np.random.default_rng(3).normal(1000, 300, (3000, 3000)).astype(np.float32), name="Phase")
    section.start()
    late = PredictSection(context)
    qtbot.addWidget(late)
    assert not late.stop.isHidden()
    assert late.go.isHidden()
    qtbot.waitUntil(lambda: "Phase: Predicting" in late.result.text(), timeout=PATIENCE_MS)
    qtbot.mouseClick(late.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: section.job is None and late.job is None, timeout=PATIENCE_MS)
    assert "Stopped" in section.result.text()
    assert "Stopped" in late.result.text()
