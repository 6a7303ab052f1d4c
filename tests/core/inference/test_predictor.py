"""Law 1, the numbers: a prediction does not depend on how it was tiled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.arrays import round_up
from napari_vstain.core.errors import ChannelError, DatasetError, TilingError
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.models.spec import OutputSpec
from napari_vstain.core.tiling.padding import reflect_pad
from napari_vstain.core.tiling.z_windows import window_starts

from .networks import CentreSlice, TinyUNet, TorchEngine, TwoHeads, noise, relative_rms, spec_of

EXACT = 1e-6
PLAIN = (0, 1)
"""Targets whose units are those of the network, so that law 1 is measured before de-normalization."""
slow = settings(max_examples=25, deadline=None)


def whole(predictor, image):
    """Return the reference of law 1: pad once, run whole in the same engine, crop; (C, Z, Y, X), normalized."""
    spec = predictor.spec
    widths = [
        (halo, round_up(n, stride) - n + halo)
        for n, stride, halo in zip(image.shape[1:], spec.stride, spec.halo, strict=True)
    ]
    block = reflect_pad(predictor.scaling().normalized(image), widths)
    if spec.dimensions == "2D":
        output = predictor.engine.run(np.ascontiguousarray(block.swapaxes(0, 1)))["stain"].swapaxes(0, 1)
    else:
        output = predictor.engine.run(block[None])["stain"][0]
    z, y, x = (slice(halo, halo + n) for halo, n in zip(spec.halo, image.shape[1:], strict=True))
    return output[:, z, y, x]


@slow
@given(
    depth=st.integers(0, 3),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 150), st.integers(1, 150)),
    tile=st.integers(1, 100),
    channels=st.integers(1, 2),
    seed=st.integers(0, 5),
)
def test_tiled_equals_whole_2d(depth, shape, tile, channels, seed):
    spec = spec_of(depth, channels, 2, units=PLAIN)
    predictor = Predictor(TorchEngine(TinyUNet(channels, 2, depth, seed=seed)), spec)
    image = noise((channels, *shape), seed)
    tiled = predictor.predict(image, tile)["stain"]
    assert tiled.shape == (2, *shape)
    assert relative_rms(tiled, whole(predictor, image)) <= EXACT


@slow
@given(
    depth=st.integers(0, 2),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 60), st.integers(1, 60)),
    tile=st.integers(1, 50),
)
def test_tiled_equals_whole_3d(depth, shape, tile):
    spec = spec_of(depth, dimensions="3D", halo_z=2 * depth + 1, units=PLAIN)
    predictor = Predictor(TorchEngine(TinyUNet(1, 1, depth, dimensions=3)), spec)
    image = noise((1, *shape))
    tiled = predictor.predict(image, tile)["stain"]
    assert relative_rms(tiled, whole(predictor, image)) <= EXACT


@slow
@given(
    depth=st.integers(1, 12), window=st.integers(1, 5), tile=st.integers(8, 40), z=st.integers(1, 12), data=st.data()
)
def test_a_slice_is_the_mean_over_the_windows_that_cover_it(depth, window, tile, z, data):
    step = data.draw(st.integers(1, window))
    spec = spec_of(1, dimensions="2.5D", z_window=window, units=PLAIN)
    predictor = Predictor(TorchEngine(TinyUNet(1, 1, 1, dimensions=3)), spec)
    image = noise((1, depth, 33, 26))
    total, count = np.zeros_like(image), np.zeros(depth)
    padded = reflect_pad(image, [(0, max(window - depth, 0)), (0, 0), (0, 0)])
    for start in window_starts(depth, window, step):
        prediction = whole(predictor, padded[:, start : start + window])
        for z_out in range(start, min(start + window, depth)):
            total[:, z_out] += prediction[:, z_out - start]
            count[z_out] += 1
    expected = total / count[:, None, None]
    assert relative_rms(predictor.predict(image, tile, z_step=step)["stain"], expected) <= EXACT
    stacked = _with_slices(predictor, image, z, step)
    assert relative_rms(stacked, expected) <= EXACT


def _with_slices(predictor, image, z, step):
    """Predict with tiles that own `z` slices each."""
    plan = predictor.plan(image.shape[1:], 16, z=z, z_step=step)
    result = np.empty((1, *image.shape[1:]), np.float32)
    blocks = predictor.blocks(predictor.source(image), predictor.scaling(), plan)
    for tile, outputs in predictor.results(plan, blocks):
        result[(slice(None), *tile.owned)] = outputs["stain"]
    return result


@slow
@given(depth=st.integers(1, 9), tile=st.integers(8, 40))
def test_a_window_may_give_only_its_centre_slice(depth, tile):
    network = CentreSlice(5)
    outputs = (OutputSpec(channels=("stain0",), scale=(0, 1, 1)),)
    spec = spec_of(0, dimensions="2.5D", z_window=5, outputs=outputs, units=PLAIN)
    predictor = Predictor(TorchEngine(network), spec)
    image = noise((1, depth, 31, 20))
    padded = reflect_pad(image, [(2, 2), (3, 3), (3, 3)])
    expected = predictor.engine.run(predictor.scaling().normalized(padded)[None])["stain"][0][:, :, 3:-3, 3:-3]
    tiled = predictor.predict(image, tile)["stain"]
    assert tiled.shape == (1, depth, 31, 20)
    assert relative_rms(tiled, expected) <= EXACT


@slow
@given(shape=st.tuples(st.integers(20, 120), st.integers(20, 120)), tile=st.integers(8, 60), data=st.data())
def test_a_region_equals_the_crop_of_the_whole(shape, tile, data):
    predictor = Predictor(TorchEngine(TinyUNet(depth=2)), spec_of(2, units=PLAIN))
    image = noise((1, *shape))
    region = tuple(
        slice(low, high + 1)
        for low, high in (sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in shape)
    )
    part = predictor.predict(image, tile, region=region)["stain"]
    crop = predictor.predict(image, 64)["stain"][(slice(None), *region)]
    np.testing.assert_allclose(part, crop, rtol=0, atol=EXACT)


@slow
@given(shape=st.tuples(st.integers(1, 90), st.integers(1, 90)), tile=st.integers(2, 60))
def test_outputs_of_several_scales_agree_with_the_whole(shape, tile):
    outputs = (
        OutputSpec(channels=("stain0",)),
        OutputSpec(task="small", channels=("a", "b"), scale=(1, 0.5, 0.5), kind="distance"),
    )
    spec = spec_of(1, outputs=outputs, units=PLAIN)
    predictor = Predictor(TorchEngine(TwoHeads()), spec)
    image = noise((1, *shape))
    tiled, once = predictor.predict(image, tile), predictor.predict(image, 96)
    assert tiled["small"].shape == (2, -(-shape[0] // 2), -(-shape[1] // 2))
    for task in ("stain", "small"):
        assert relative_rms(tiled[task], once[task]) <= EXACT


@slow
@given(shape=st.tuples(st.integers(1, 100), st.integers(1, 100)), fits=st.integers(1500, 20000))
def test_a_tile_that_does_not_fit_is_halved_and_the_result_is_the_same(shape, fits):
    spec = spec_of(1, units=PLAIN)
    image = noise((1, 3, *shape))
    plenty = Predictor(TorchEngine(TinyUNet(depth=1)), spec).predict(image, 128)["stain"]
    engine = TorchEngine(TinyUNet(depth=1), fits=fits)
    little = Predictor(engine, spec).predict(image, 128)["stain"]
    np.testing.assert_allclose(little, plenty, rtol=0, atol=EXACT)
    assert max(np.prod(shape) for shape in engine.runs) <= fits


def test_a_model_that_fits_in_no_tile_says_so():
    predictor = Predictor(TorchEngine(TinyUNet(depth=1), fits=10), spec_of(1))
    with pytest.raises(TilingError, match="does not fit in memory"):
        predictor.predict(noise((1, 64, 64)))


def test_after_running_out_of_memory_tiles_are_halved_at_once():
    engine = TorchEngine(TinyUNet(depth=1), fits=5000)
    predictor = Predictor(engine, spec_of(1))
    predictor.predict(noise((1, 64, 200)), 64)
    tried = []
    run = engine.run
    engine.run = lambda batch, token=None: (tried.append(batch[:, 0].size), run(batch, token))[1]
    predictor.predict(noise((1, 64, 200)), 64)
    assert max(tried) <= 5000


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 49)), max_size=5), st.sampled_from([np.nan, np.inf]))
@settings(max_examples=20, deadline=None)
def test_nan_and_infinite_pixels_stay_nan_and_disturb_only_their_surroundings(places, value):
    predictor = Predictor(TorchEngine(TinyUNet(channels_in=2, depth=1)), spec_of(1, 2, units=PLAIN))
    image = noise((2, 40, 50))
    filled = image.copy()
    for y, x in places:
        image[1, y, x] = value
        filled[:, y, x] = 100
    prediction = predictor.predict(image, 16)["stain"]
    bad = np.zeros((1, 40, 50), bool)
    bad[0, [y for y, _ in places], [x for _, x in places]] = True
    np.testing.assert_array_equal(np.isnan(prediction), bad)
    expected = predictor.predict(filled, 64)["stain"]
    np.testing.assert_allclose(prediction[~bad], expected[~bad], rtol=0, atol=EXACT)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 5), (7, 2)])
def test_images_smaller_than_anything_are_predicted(shape):
    predictor = Predictor(TorchEngine(TinyUNet(depth=3)), spec_of(3))
    prediction = predictor.predict(noise((1, *shape)))["stain"]
    assert prediction.shape == (1, *shape)
    assert np.isfinite(prediction).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float64", ">u2"])
def test_every_dtype_is_taken_in_raw_units(dtype):
    predictor = Predictor(TorchEngine(TinyUNet(depth=1)), spec_of(1))
    image = np.round(noise((1, 40, 40))).astype(dtype)
    expected = predictor.predict(image.astype(np.float32))["stain"]
    np.testing.assert_array_equal(predictor.predict(image)["stain"], expected)


def test_a_wrong_number_of_channels_is_one_clear_error():
    predictor = Predictor(TorchEngine(TinyUNet(channels_in=2)), spec_of(2, 2))
    with pytest.raises(ChannelError, match="number of source channels 3: the model takes 2: source0, source1"):
        predictor.predict(noise((3, 40, 40)))
    with pytest.raises(DatasetError, match=r"\(C, Y, X\)"):
        predictor.predict(noise((40, 40)))


def test_predictions_are_in_the_targets_units():
    image = noise((1, 40, 40))
    spec = spec_of(1)
    engine = TorchEngine(TinyUNet(depth=1))
    prediction = Predictor(engine, spec).predict(image)["stain"]
    expected = whole(Predictor(engine, spec), image[:, None])[:, 0] * 300 + 1000
    np.testing.assert_allclose(prediction, expected, rtol=1e-6)
