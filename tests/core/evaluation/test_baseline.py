"""The trivial baseline is the least squares that its definition says, whatever the memory it is computed in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_vstain.core.errors import DatasetError
from napari_vstain.core.evaluation.baseline import Baseline, features, fit_baseline


def slice_features(source):
    """The definition, written down again: (C, Y, X) -> (pixels, 4 C)."""
    columns = []
    for channel in source.astype(float):
        columns.append(channel)
        for sigma in (2, 4, 8):
            mean = gaussian_filter(channel, sigma)
            columns.append(np.sqrt(np.maximum(gaussian_filter((channel - mean.mean()) ** 2, sigma)
                                              - gaussian_filter(channel - mean.mean(), sigma) ** 2, 0)))  # fmt: skip
    return np.stack([column.ravel() for column in columns], axis=1)


def scene(seed, shape=(1, 2, 60, 70), targets=2):
    rng = np.random.default_rng(seed)
    source = gaussian_filter(rng.normal(size=shape), (0, 0, 2, 2)) * 900 + 3000
    target = np.stack([source[0] * 0.2 + rng.normal(size=shape[1:]) * (10 + 20 * task) for task in range(targets)])
    return source.astype(np.uint16), target.astype(np.float32)


@settings(deadline=None, max_examples=10)
@given(
    height=st.integers(1, 400), width=st.integers(1, 90), channels=st.integers(1, 2), start=st.integers(0, 399),
    length=st.integers(1, 200),
)  # fmt: skip
def test_the_features_of_some_rows_are_those_rows_of_the_whole(height, width, channels, start, length):
    rng = np.random.default_rng(height * width)
    source = rng.normal(size=(channels, height, width)) * 100 + 1000
    rows = slice(min(start, height - 1), min(start + length, height))
    whole = features(source).reshape(4 * channels, height, width)
    part = features(source, rows).reshape(4 * channels, -1, width)
    np.testing.assert_allclose(part, whole[:, rows], atol=1e-6)


def test_the_features_are_the_source_and_its_local_standard_deviations():
    source, _ = scene(0, (2, 1, 60, 70))
    np.testing.assert_allclose(features(source[:, 0]).T, slice_features(source[:, 0]), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_fit_equals_least_squares_over_all_pixels_at_once(channels):
    pairs = [scene(seed, (channels, 2, 50 + 9 * seed, 80)) for seed in range(3)]
    inputs = np.concatenate([slice_features(source[:, z]) for source, _ in pairs for z in range(2)])
    wanted = np.concatenate([target[:, z].reshape(2, -1).T for _, target in pairs for z in range(2)]).astype(float)
    expected = np.linalg.lstsq(np.column_stack([np.ones(len(inputs)), inputs]), wanted, rcond=None)[0]
    ours = fit_baseline(iter(pairs))
    np.testing.assert_allclose(ours.coefficients, expected, rtol=1e-4, atol=1e-6)
    unseen, _ = scene(9, (channels, 1, 64, 64))
    predicted = np.column_stack([np.ones(64 * 64), slice_features(unseen[:, 0])]) @ expected
    np.testing.assert_allclose(ours.predict(unseen).reshape(2, -1).T, predicted, rtol=1e-5)


def test_it_finds_a_function_of_its_own_features_exactly():
    source, _ = scene(1, (1, 1, 200, 90))
    inputs = features(source[:, 0])
    target = (7 + inputs.T @ [0.5, -2, 0, 3]).reshape(1, 1, 200, 90)
    ours = fit_baseline([(source, target)])
    np.testing.assert_allclose(ours.coefficients[:, 0], [7, 0.5, -2, 0, 3], atol=1e-6)
    np.testing.assert_allclose(ours.predict(source), target, rtol=1e-5)


def test_a_constant_source_predicts_the_mean():
    target = np.arange(2000.0).reshape(1, 1, 40, 50)
    ours = fit_baseline([(np.full((1, 1, 40, 50), 12, np.uint16), target)])
    assert np.isfinite(ours.coefficients).all()
    np.testing.assert_allclose(ours.predict(np.full((1, 1, 5, 5), 12)), target.mean(), rtol=1e-6)


def test_pixels_that_are_not_finite_are_left_out_of_the_fit_and_nan_in_the_prediction():
    source, target = scene(2, (1, 1, 120, 90))
    expected = fit_baseline([(source, target)])
    broken_source, broken_target = source.astype(np.float32), target.copy()
    broken_source[0, 0, 30, 40], broken_target[0, 0, 100, 80] = np.nan, np.inf
    ours = fit_baseline([(broken_source, broken_target)])
    assert np.isfinite(ours.coefficients).all()
    np.testing.assert_allclose(ours.predict(source), expected.predict(source), rtol=0.05)
    hole = np.isnan(ours.predict(broken_source)[0, 0])
    assert hole[30, 40] and not hole[100, 80] and 0 < hole.sum() <= 65 * 65


def test_one_position_is_held_at_a_time():
    alive = []

    def pairs():
        for seed in range(4):
            pair = scene(seed)
            alive.append(seed)
            yield pair

    assert isinstance(fit_baseline(pairs()), Baseline) and alive == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 5)))],
        [(np.full((1, 1, 4, 4), np.nan), np.zeros((1, 1, 4, 4)))],
    ],
)
def test_what_cannot_be_fitted_is_said(pairs):
    with pytest.raises(DatasetError):
        fit_baseline(pairs)


@pytest.mark.real_data("ecoli_phase_fluorescence")
def test_on_real_bacteria_it_reaches_what_a_trivial_predictor_reaches(real_data):
    from tifffile import imread

    from napari_vstain.core.evaluation.families.intensity import image_metrics

    folder = real_data / "ecoli_phase_fluorescence"

    def field(number):
        phase, fitc = (imread(folder / f"ecoli_HG105_{number}_{name}.tif") for name in ("phase", "fitc"))
        return phase[None, None, 2:], fitc[None, None, :-2]  # the phase image leads by two rows

    ours = fit_baseline(field(number) for number in range(3))
    source, target = field(8)
    pearson = image_metrics(target[0, 0], ours.predict(source)[0, 0])["pearson"]
    assert 0.6 < pearson < 0.85
