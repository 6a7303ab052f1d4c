"""What cannot be exact is whole where it fits, else its error is measured and named."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_vstain.core.data import open_dataset, recorded
from napari_vstain.core.errors import TilingError
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.inference.approximation import TOLERANCE, measured_halo
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.streaming import Stream, StreamRequest
from napari_vstain.core.progress import Progress

from .networks import TinyUNet, TorchEngine, noise, relative_rms, spec_of
from .plates import KEYS, predictor_of, workspace_with


def far_sighted():
    """Return a predictor whose model says that it looks 1000 px far, as a deep ConvNeXt does."""
    spec = spec_of(1, units=(0, 1)).model_copy(update={"halo": (0, 1000, 1000)})
    return Predictor(TorchEngine(TinyUNet(depth=1)), spec)


def test_a_measured_halo_is_as_small_as_the_error_allows():
    predictor = far_sighted()
    halo, error = measured_halo(predictor.engine, predictor.spec, 400**2)
    assert halo[1] == halo[2] <= 8
    assert error <= TOLERANCE


def test_an_image_that_fits_is_whole_and_exact_whatever_the_halo():
    predictor = far_sighted()
    predictor.runner.measured.budget_px = 2200**2
    plan = predictor.plan((1, 150, 150), 64)
    assert len(plan) == 1
    assert predictor.caveat(plan, predictor.source(noise((1, 150, 150)))) == ""


def test_a_halo_larger_than_the_tile_is_replaced_by_a_measured_one_and_said():
    predictor = far_sighted()
    predictor.runner.measured.budget_px = 400**2
    image = noise((1, 900, 700))
    plan = predictor.plan((1, 900, 700), 128)
    assert len(plan) > 1
    assert "looks 1000 px far" in predictor.caveat(plan, predictor.source(image))
    expected = Predictor(predictor.engine, spec_of(1, units=(0, 1))).predict(image)["stain"]
    assert relative_rms(predictor.predict(image, 128)["stain"], expected) <= TOLERANCE


def across(fits=None, **more):
    """Return a predictor whose network looks across the whole image."""
    spec = spec_of(1, units=(0, 1), tile_exact=False)
    return Predictor(TorchEngine(TinyUNet(depth=1, norm=True), fits=fits), spec)


class Gated(nn.Module):
    """A network that weighs its channels by their means over the whole image (squeeze and excitation)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.gate = nn.Linear(4, 4)
        self.eval()

    def forward(self, x):
        made = torch.relu(self.first(x))
        gates = torch.sigmoid(self.gate(made.mean((2, 3))))
        return self.last(made * gates[:, :, None, None])


def ramp(shape):
    """Noise on a background that grows from corner to corner, in the sources' units."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    return noise(shape) + 200 * (y / shape[1] + x / shape[2]).astype(np.float32)


def debris(shape):
    """Noise with a few bright specks, and one bright patch."""
    image = noise(shape)
    for y, x in np.random.default_rng(5).integers(0, 600, (5, 2)):
        image[0, y : y + 12, x : x + 9] += 3000
    image[0, 650:750, 100:220] += 1200
    return image


@pytest.mark.parametrize("network", [Gated, lambda: TinyUNet(depth=1, norm=True)], ids=["gated", "instance norm"])
@pytest.mark.parametrize("image", [noise, ramp, debris])
@pytest.mark.parametrize("shape", [(1, 900, 800), (1, 500, 1600)])
def test_the_error_of_a_blend_is_estimated_from_above_on_the_image_at_hand(network, image, shape):
    spec = spec_of(1, units=(0, 1), tile_exact=False)
    pixels, predictor = image(shape), Predictor(TorchEngine(network()), spec)
    predictor.runner.measured.budget_px = 400**2
    plan = predictor.plan((1, *shape[1:]), 256)
    assert plan.margin
    blended = predictor.predict(pixels, 256)["stain"]
    predictor.runner.measured.budget_px = 10**8
    true = relative_rms(blended, predictor.predict(pixels)["stain"])
    predictor.runner.measured.budget_px = 400**2
    said = predictor.caveat(plan, predictor.source(pixels))
    assert "are blended: a relative error of at most about" in said
    assert true <= float(said.split()[-1]) <= max(30 * true, 0.02)


def test_an_image_that_does_not_fit_whole_is_blended_instead():
    image = noise((1, 900, 900))
    predictor = across(fits=800**2)
    blended = predictor.predict(image)["stain"]
    assert predictor.runner.measured.most_px is not None
    assert predictor.plan((1, 900, 900)).margin
    assert 0 < relative_rms(blended, across().predict(image)["stain"]) < 0.3
    streamed = Stream(StreamRequest(image), across(fits=800**2))(Progress())["stain"]
    np.testing.assert_allclose(streamed, blended, rtol=0, atol=1e-6)


def test_a_network_that_fits_in_no_tile_says_so():
    with pytest.raises(TilingError, match="does not fit in memory"):
        across(fits=100).predict(noise((1, 900, 900)))


class Far(nn.Module):
    """A network whose last layer looks 60 px far, faintly."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.near, self.far = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 5, padding=60, dilation=30)
        self.far.weight.data *= 0.002
        self.eval()

    def forward(self, x):
        return self.near(x) + self.far(x)


@pytest.mark.parametrize("image", [noise, debris])
def test_the_error_of_a_halo_that_is_too_small_is_estimated_from_above_too(image):
    spec = spec_of(0, units=(0, 1)).model_copy(update={"halo": (0, 64, 64)})
    pixels, predictor = image((1, 900, 800)), Predictor(TorchEngine(Far()), spec)
    predictor.runner.measured.budget_px = 170**2
    plan = predictor.plan((1, 900, 800), 64)
    assert len(plan) > 1
    assert plan.halo[1] < 60
    small = predictor.predict(pixels, 64)["stain"]
    predictor.runner.measured.budget_px = 10**8
    true = relative_rms(small, predictor.predict(pixels)["stain"])
    predictor.runner.measured.budget_px = 300**2
    said = predictor.caveat(plan, predictor.source(pixels))
    assert "looks 64 px far" in said
    assert true <= float(said.split()[-1])


def test_a_batch_says_in_the_store_what_is_not_exact(tmp_path):
    workspace = workspace_with(tmp_path, keys=KEYS[:1], shape=(1, 2, 1, 900, 900))
    predictor = predictor_of(network=TinyUNet(depth=1, norm=True), fits=800**2, tile_exact=False)
    settings = PredictSettings(dataset="noise", experiment="test")
    result = run(settings, workspace, Progress(), predictor=predictor)
    assert result.positions == KEYS[:1]
    assert sum("blended" in warning for warning in result.warnings) == 1
    position = open_dataset(result.store).position(KEYS[0])
    assert recorded(position, "prediction")["warnings"] == list(result.warnings)
    assert recorded(position, "prediction")["complete"] is True
    image = open_dataset(workspace.dataset("noise")).position(KEYS[0]).read(["Phase"])
    expected = across(fits=800**2).predict(image)["stain"]
    np.testing.assert_allclose(position.read(["stain0_prediction"]), expected, rtol=0, atol=1e-6)
