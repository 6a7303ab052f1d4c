"""The dock says when an image is unlike what a model was trained on, and offers to bring it to the model's pixels."""

from dataclasses import replace

import numpy as np
import pytest

from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.layers.geometry import spacing_um

PATIENCE_MS = 120_000


@pytest.fixture(scope="session")
def picky(tmp_path_factory, checkpoint):
    """A checkpoint whose model was calibrated on smooth images of 0.2 µm a pixel."""
    from napari_vstain.core.models.files.checkpoint import load_checkpoint, save_checkpoint
    from napari_vstain.core.novelty import calibrate

    spec, network = load_checkpoint(checkpoint)
    spec = spec.model_copy(update={"spacing_um": (1.0, 0.2, 0.2)})
    spec = spec.model_copy(update={"novelty": calibrate(spec, [smooth(seed)[None, None] for seed in range(8)])})
    path = tmp_path_factory.mktemp("picky") / "picky.ckpt"
    save_checkpoint(path, spec, network)
    return path


def smooth(seed):
    """Return a field, (Y, X), whose neighbouring pixels are alike."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(256, 256)), 4)
    return (1000 + 300 * noise / noise.std()).astype(np.float32)


@pytest.fixture
def section(context, qtbot, picky):
    made = PredictSection(context)
    qtbot.addWidget(made)
    made.use_file(picky)
    qtbot.waitUntil(lambda: context.session.model is not None, timeout=PATIENCE_MS)
    return made


def predict(section, qtbot):
    section.start("field")
    layers = section.live_prediction.shown.layers
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    return layers


def test_an_image_like_the_training_data_is_predicted_without_a_word(section, qtbot, context):
    context.viewer.add_image(smooth(99), name="Phase", scale=(0.2, 0.2), units=("um", "um"))
    predict(section, qtbot)
    assert section.cautions.isHidden()


def test_an_image_unlike_it_is_said_until_another_is_chosen(section, qtbot, context, field):
    context.viewer.add_image(field, name="Phase", scale=(0.2, 0.2), units=("um", "um"))
    other = context.viewer.add_image(field, name="other")
    predict(section, qtbot)
    assert not section.cautions.line.isHidden()
    assert "unlike the model's training data" in section.cautions.line.text()
    assert section.cautions.offer.isHidden()
    combo = section.inputs.combos["Phase"]
    combo.setCurrentIndex(combo.findText(other.name))
    assert section.cautions.isHidden()


def test_what_was_said_goes_with_the_model(section, qtbot, context, field):
    context.viewer.add_image(field, name="Phase")
    section.cautions.add("something")
    assert not section.cautions.isHidden()
    context.session.choose_model(
        replace(context.session.model, path=context.session.model.path.with_name("other.ckpt"))
    )
    assert section.cautions.isHidden()


def test_another_voxel_size_is_said_and_resampling_is_offered(section, qtbot, context, picky):
    from napari_vstain.core.inference.loading import load_predictor

    image = smooth(5)
    context.viewer.add_image(image, name="Phase", scale=(100, 100), units=("nm", "nm"))
    assert "0.1 µm to the model's 0.2 µm" in section.cautions.offer.text()
    predict(section, qtbot)
    assert "voxel size differs" in section.cautions.line.text()
    section.cautions.offer.setChecked(True)
    (layer,) = predict(section, qtbot)
    assert "voxel size differs" not in section.cautions.line.text()
    expected = load_predictor(picky).resampled((2, 2)).predict(image[None])["stain"][0]
    np.testing.assert_allclose(layer.data, expected, rtol=1e-4, atol=0.05)


def test_no_resampling_is_offered_where_the_voxel_size_is_unknown_or_the_same(section, context):
    layer = context.viewer.add_image(smooth(1), name="Phase", scale=(0.1, 0.1))
    assert section.cautions.offer.isHidden()
    context.viewer.layers.remove(layer)
    context.viewer.add_image(smooth(1), name="Phase", scale=(0.2, 0.2), units=("um", "um"))
    assert section.cautions.offer.isHidden()


def test_the_line_wraps_in_a_narrow_dock(section):
    section.cautions.add("A sentence that is a good deal longer than a narrow dock is wide, and so must wrap. " * 2)
    assert section.cautions.minimumSizeHint().width() <= 380
    assert section.cautions.line.wordWrap()


def test_what_the_tiles_cost_in_exactness_is_said(section):
    from napari_vstain.core.session import AccuracyNote

    section._take(AccuracyNote("tiles are blended: a relative error of about 0.01"))
    assert "not exact: tiles are blended" in section.cautions.line.text()


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((100, 200), ("nm", "nm"), (None, 0.1, 0.2)),
        ((2, 0.1, 0.2), ("um", "um", "um"), (2, 0.1, 0.2)),
        ((1, 1), ("pixel", "pixel"), None),
    ],
)
def test_the_voxel_size_comes_from_scale_and_units(scale, units, expected):
    from napari.layers import Image

    layer = Image(np.zeros((4,) * len(scale)), scale=scale, units=units)
    found = spacing_um(layer, "ZYX"[-len(scale) :])
    assert found == (expected if expected is None else pytest.approx(expected))


def test_a_model_without_a_voxel_size_offers_nothing(section):
    spec = ModelSpec.model_validate({**section.session.model.spec.model_dump(), "spacing_um": None})
    section.cautions.show_for(("other",), spec, (1, 0.1, 0.1))
    assert section.cautions.offer.isHidden()
