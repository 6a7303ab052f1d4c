"""The eight flips and rotations: undone exactly, tiled exactly, at any aspect ratio."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.inference.augment import symmetries, turned, turned_back
from napari_vstain.core.inference.predictor import Predictor

from .networks import TinyUNet, TorchEngine, noise, spec_of

ALL = symmetries(spec_of(1))


def predictor_of(augment, **more):
    return Predictor(TorchEngine(TinyUNet(depth=1)), spec_of(1, units=(0, 1), **more), augment=augment)


@given(st.sampled_from(ALL), st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
def test_every_symmetry_is_undone(symmetry, shape):
    array = noise(shape)
    np.testing.assert_array_equal(turned_back(turned(array, symmetry), symmetry), array)


def test_the_symmetries_are_the_eight_of_the_square():
    square = noise((3, 3))
    assert len({turned(square, symmetry).tobytes() for symmetry in ALL}) == 8


def test_strides_that_differ_leave_four():
    spec = spec_of(1).model_copy(update={"stride": (1, 2, 4), "halo": (0, 8, 8)})
    tall = noise((2, 5))
    assert {turned(tall, symmetry).shape for symmetry in symmetries(spec)} == {(2, 5)}
    assert len(symmetries(spec)) == 4


@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.integers(2, 60),
    how=st.sampled_from(["mean", "median"]),
)
def test_augmented_tiles_equal_the_augmented_whole(shape, tile, how):
    predictor, image = predictor_of(how), noise((1, *shape))
    tiled, whole = predictor.predict(image, tile), predictor.predict(image, 96)
    assert set(tiled) == {"stain", "stain_uncertainty"}
    for task, values in tiled.items():
        np.testing.assert_allclose(values, whole[task], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("how", "reduce"), [("mean", np.mean), ("median", np.median)])
def test_it_is_the_mean_or_median_of_the_eight_predictions_of_the_turned_image(how, reduce):
    image = noise((1, 32, 48))
    plain = predictor_of("none")
    stack = [
        turned_back(plain.predict(np.ascontiguousarray(turned(image, symmetry)))["stain"], symmetry) for symmetry in ALL
    ]
    augmented = predictor_of(how).predict(image)
    np.testing.assert_allclose(augmented["stain"], reduce(stack, axis=0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(augmented["stain_uncertainty"], np.std(stack, axis=0), rtol=0, atol=1e-6)


def test_uncertainty_is_in_the_targets_units_without_their_offset():
    image = noise((1, 40, 40))
    units = Predictor(TorchEngine(TinyUNet(depth=1)), spec_of(1, units=(1000, 300)), augment="mean")
    plain = predictor_of("mean").predict(image)
    predicted = units.predict(image)
    np.testing.assert_allclose(predicted["stain"], plain["stain"] * 300 + 1000, rtol=1e-6)
    np.testing.assert_allclose(predicted["stain_uncertainty"], plain["stain_uncertainty"] * 300, rtol=1e-4, atol=1e-4)


def test_the_channels_say_what_they_are():
    predictor = predictor_of("median")
    names = [predictor.channel_names(output) for output in predictor.spec.outputs]
    assert names == [("stain0_prediction",), ("stain0_uncertainty",)]
