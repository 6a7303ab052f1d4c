"""Images of another voxel size are predicted at the model's, in tiles as whole, and end on their own grid."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.data import open_dataset, recorded
from napari_vstain.core.errors import ModelError, SettingsError, TilingError
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.recipe import Existing
from napari_vstain.core.inference.resampling import ResampledImage, weights
from napari_vstain.core.progress import Progress

from .networks import TinyUNet, TorchEngine, TwoHeads, noise, relative_rms, spec_of
from .plates import KEYS, predictor_of, workspace_with
from .test_predictor import PLAIN

FACTORS = st.sampled_from([0.5, 0.7, 1.0, 1.3, 2.0, 2.5])


def inner(depth=2, **more):
    return Predictor(TorchEngine(TinyUNet(depth=depth)), spec_of(depth, units=PLAIN, **more))


@settings(max_examples=15, deadline=None)
@given(factors=st.tuples(FACTORS, FACTORS), shape=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_tiled_equals_whole_at_any_voxel_size(factors, shape):
    predictor = inner().resampled(factors)
    image = noise((1, *shape))
    whole, tiled = (predictor.predict(image, tile_px)["stain"] for tile_px in (512, 33))
    assert tiled.shape == image.shape
    assert relative_rms(tiled, whole) <= 1e-5


@pytest.mark.parametrize("factor", [0.5, 1.6, 2.0])
def test_it_is_the_prediction_of_the_resampled_image_resampled_back(factor):
    image = noise((1, 256, 240))
    small = ResampledImage(image[:, None], (factor, factor))
    there = np.stack([small[0, 0, slice(0, small.shape[2]), slice(0, small.shape[3])]])
    made = inner().predict(there.astype(np.float32))["stain"]
    rows, columns = (
        weights(slice(0, a), slice(0, b), 1 / factor) for a, b in zip(made.shape[1:], image.shape[1:], strict=True)
    )
    expected = rows @ made[0] @ columns.T
    found = inner().resampled((factor, factor)).predict(image)["stain"][0]
    centre = slice(70, -70)
    assert relative_rms(found[centre, centre], expected[centre, centre].astype(np.float32)) <= 1e-4


def test_a_flat_image_stays_flat_and_a_ramp_a_ramp():
    shares = weights(slice(0, 100), slice(0, 40), 2.5)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose((shares @ np.arange(100.0))[2:-2], ((np.arange(40) + 0.5) * 2.5 - 0.5)[2:-2], atol=0.02)


def test_a_tile_that_does_not_fit_is_predicted_in_parts():
    image = noise((1, 200, 180))
    little = Predictor(TorchEngine(TinyUNet(depth=2), fits=5000), spec_of(2, units=PLAIN))
    found = little.resampled((2.0, 2.0)).predict(image)["stain"]
    assert relative_rms(found, inner().resampled((2.0, 2.0)).predict(image)["stain"]) <= 1e-5
    blended = TorchEngine(TinyUNet(depth=2, norm=True), fits=10)
    spec = spec_of(2, units=PLAIN, tile_exact=False)
    with pytest.raises(TilingError, match="does not fit in memory"):
        Predictor(blended, spec).resampled((2.0, 2.0)).predict(image)


def test_it_travels_to_other_processes():
    predictor = inner().resampled((2.0, 2.0))
    image = noise((1, 40, 40))
    again = pickle.loads(pickle.dumps(predictor))
    np.testing.assert_array_equal(again.predict(image)["stain"], predictor.predict(image)["stain"])


def test_outputs_of_other_pixels_are_refused():
    from napari_vstain.core.models.spec import OutputSpec

    outputs = (OutputSpec(task="small", channels=("a", "b"), scale=(1, 0.5, 0.5)),)
    predictor = Predictor(TorchEngine(TwoHeads()), spec_of(1, outputs=outputs))
    with pytest.raises(ModelError, match="leave resample out"):
        predictor.resampled((2.0, 2.0))


def test_a_plate_of_another_voxel_size_is_said_and_resampled_on_request(tmp_path):
    workspace = workspace_with(tmp_path / "work", keys=KEYS[:1], shape=(1, 2, 1, 120, 140))
    predictor = predictor_of(spacing_um=(2.0, 1.0, 0.5))
    asked = PredictSettings(dataset="noise", experiment="test")
    result = run(asked, workspace, Progress(), predictor=predictor)
    assert any("voxel size differs" in warning and "“Resample”" in warning for warning in result.warnings)
    result = run(
        asked.model_copy(update={"resample": True, "existing": Existing.RENEW}),
        workspace,
        Progress(),
        predictor=predictor,
    )
    assert not any("voxel size" in warning for warning in result.warnings)
    position = open_dataset(result.store).position(KEYS[0])
    assert recorded(position, "prediction")["details"]["resampled"] == [2.0, 2.0]
    assert position.shape == (1, 1, 1, 120, 140)
    source = open_dataset(workspace.dataset("noise")).position(KEYS[0]).read(["Phase"])
    expected = predictor_of(spacing_um=(2.0, 1.0, 0.5)).resampled((2.0, 2.0)).predict(source)["stain"]
    assert relative_rms(position.read(["stain0_prediction"]), expected) <= 1e-6


def test_a_model_that_does_not_know_its_voxel_size_cannot_be_resampled_for(tmp_path):
    workspace = workspace_with(tmp_path / "work", keys=KEYS[:1], shape=(1, 2, 1, 60, 60))
    asked = PredictSettings(dataset="noise", experiment="test", resample=True)
    with pytest.raises(SettingsError, match="the model's voxel size, which is not known"):
        run(asked, workspace, Progress(), predictor=predictor_of())


def test_steps_stand_around_one_runner_and_share_what_it_measured():
    plain = inner()
    larger = plain.resampled((2.0, 2.0))
    larger.predict(noise((1, 64, 64)))
    assert plain.runner.measured.speed == pytest.approx(larger.runner.measured.speed / 4, rel=1e-3)
    assert (plain.model, plain.spec.border) == (larger.model, larger.spec.border)
    assert plain.spec.halo != larger.spec.halo
    assert pickle.loads(pickle.dumps(larger)).factors == (2.0, 2.0)
