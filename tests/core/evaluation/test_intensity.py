"""The metrics equal independent implementations, and say NaN where they are not defined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from napari_vstain.core.errors import DatasetError
from napari_vstain.core.evaluation.columns import METRICS, describe_columns, metric_table
from napari_vstain.core.evaluation.definitions import Definitions
from napari_vstain.core.evaluation.families.intensity import image_metrics, scores
from napari_vstain.core.evaluation.ranges import data_range

SKIMAGE = {
    "gaussian": {"gaussian_weights": True, "sigma": 1.5},
    "uniform": {"win_size": 7},
}


def images(shape=(70, 93), dtype=np.float32, seed=0, offset=500.0):
    rng = np.random.default_rng(seed)
    target = gaussian_filter(rng.normal(size=shape), 2) * 2000 + offset
    prediction = 0.8 * target + 90 + rng.normal(size=shape) * 60
    return target.astype(dtype), prediction.astype(np.float32)


def robust(target):
    """The range without the highest and lowest 0.01 % of the pixels, at least one of each."""
    values = np.sort(np.asarray(target, float).ravel())
    least = min(max(1, int(1e-4 * values.size)), (values.size - 1) // 2)
    return float(values[-1 - least] - values[least]) or float(np.ptp(values))


def reference_ssim(target, prediction, window="gaussian"):
    t, p = target.astype(float), prediction.astype(float)
    return structural_similarity(t, p, data_range=robust(t), use_sample_covariance=False, **SKIMAGE[window])


def reference(target, prediction, window="gaussian"):
    t, p = target.astype(float), prediction.astype(float)
    data_range = robust(t)
    return {
        "pearson": pearsonr(t.ravel(), p.ravel()).statistic,
        "ssim": reference_ssim(target, prediction, window),
        "nrmse": np.sqrt(np.mean((t - p) ** 2)) / t.std(),
        "psnr": peak_signal_noise_ratio(t, p, data_range=data_range),
        "mae": np.abs(t - p).mean(),
    }


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_the_metrics_equal_scikit_image_and_scipy(window, dtype):
    target, prediction = images(dtype=dtype, offset=100 if dtype == np.uint8 else 5000)
    ours = image_metrics(target, prediction, definitions=Definitions(ssim_window=window))
    assert ours == pytest.approx(reference(target, prediction, window), rel=1e-9)


@pytest.mark.parametrize("by", ["std", "range", "norm"])
@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_the_metrics_equal_torchmetrics(by, window):
    import torch
    from torchmetrics.functional import pearson_corrcoef
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
    from torchmetrics.functional.regression import mean_absolute_error, normalized_root_mean_squared_error

    target, prediction = images(dtype=np.float64)
    t, p = torch.from_numpy(target), torch.from_numpy(prediction).double()
    data_range = robust(target)
    kernel = {"gaussian": {"sigma": 1.5}, "uniform": {"gaussian_kernel": False, "kernel_size": 7}}[window]
    normalization = {"std": "std", "range": "range", "norm": "l2"}[by]
    _, similar = structural_similarity_index_measure(
        p[None, None], t[None, None], data_range=data_range, return_full_image=True, **kernel
    )
    border = 5 if window == "gaussian" else 3  # theirs averages the reflected border too
    error = normalized_root_mean_squared_error(p.ravel(), t.ravel(), normalization)
    if by == "range":  # theirs is of all pixels
        error = error * float(t.max() - t.min()) / data_range
    if by == "norm":  # theirs divides a mean by a sum: without the root of n it is no ratio of like things
        error = error * t.numel() ** 0.5
    expected = {
        "pearson": pearson_corrcoef(p.ravel(), t.ravel()),
        "ssim": similar[..., border:-border, border:-border].mean(),
        "nrmse": error,
        "psnr": peak_signal_noise_ratio(p, t, data_range=data_range),
        "mae": mean_absolute_error(p, t),
    }
    ours = image_metrics(target, prediction, definitions=Definitions(ssim_window=window, nrmse_by=by))
    assert ours == pytest.approx({key: float(value) for key, value in expected.items()}, rel=1e-6)


def test_nrmse_by_the_norm_or_the_range_is_scikit_images():
    target, prediction = images(dtype=np.float64)
    for by, name, theirs in (("norm", "euclidean", 1), ("range", "min-max", np.ptp(target) / robust(target))):
        ours = image_metrics(target, prediction, definitions=Definitions(nrmse_by=by))["nrmse"]
        assert ours == pytest.approx(normalized_root_mse(target, prediction, normalization=name) * theirs, rel=1e-12)


def test_one_hot_pixel_does_not_decide_the_range_nor_ssim():
    target, _ = images(dtype=np.uint16, offset=5000)
    noise = np.random.default_rng(1).normal(target.mean(), target.std(), target.shape).astype(np.float32)
    before, known = image_metrics(target, noise), data_range(target, noise)
    target[20, 30] = 65535
    after = image_metrics(target, noise)
    assert data_range(target, noise) == pytest.approx(known, rel=0.1)
    assert after["ssim"] == pytest.approx(before["ssim"], abs=0.05)
    assert np.ptp(target) > 5 * known


def test_a_target_that_is_constant_but_for_one_pixel_still_has_a_range():
    target = np.zeros((40, 40), np.uint16)
    target[9, 9] = 7
    assert image_metrics(target, target)["ssim"] == pytest.approx(1)


@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    threads=st.integers(1, 3),
)
def test_any_image_of_any_size_equals_the_references(data, shape, threads):
    values = st.floats(-1e4, 1e4, width=32)
    target = data.draw(arrays(np.float32, shape, elements=values))
    prediction = data.draw(arrays(np.float32, shape, elements=values))
    ours = image_metrics(target, prediction, threads=threads)
    t, p = target.astype(float), prediction.astype(float)
    assert ours["mae"] == pytest.approx(np.abs(t - p).mean(), rel=1e-9, abs=1e-300)
    if np.ptp(t) > 1e-3 and np.ptp(p) > 1e-3:
        assert ours["pearson"] == pytest.approx(pearsonr(t.ravel(), p.ravel()).statistic, abs=1e-6)
    if min(shape) > 10 and robust(t) > 1e-3:
        assert ours["ssim"] == pytest.approx(reference_ssim(target, prediction), abs=1e-6)
    if min(shape) < 11:
        assert np.isnan(ours["ssim"])


@pytest.mark.parametrize("shape", [(11, 11), (33, 2060), (2100, 40), (300, 4200)])
def test_strips_leave_no_seam(shape):
    target, prediction = images(shape)
    assert image_metrics(target, prediction, threads=2) == pytest.approx(reference(target, prediction), rel=1e-9)


def test_a_large_offset_costs_no_digits():
    target, prediction = images(dtype=np.float64, offset=1e7)
    assert image_metrics(target, prediction) == pytest.approx(reference(target, prediction), rel=1e-6)


def test_a_perfect_prediction_scores_best():
    target, _ = images()
    assert image_metrics(target, target) == pytest.approx(
        {"pearson": 1, "ssim": 1, "nrmse": 0, "psnr": np.inf, "mae": 0}, abs=1e-12
    )


def test_nrmse_of_the_mean_is_one():
    target, _ = images(dtype=np.float64)
    assert image_metrics(target, np.full_like(target, target.mean()))["nrmse"] == pytest.approx(1)


def test_a_constant_target_has_an_error_and_nothing_else():
    target, prediction = np.full((40, 50), 7.1, np.float32), images((40, 50))[1]
    ours = image_metrics(target, prediction)
    assert {key for key, value in ours.items() if np.isnan(value)} == {"pearson", "ssim", "nrmse", "psnr"}
    assert ours["mae"] == pytest.approx(np.abs(prediction.astype(float) - np.float32(7.1)).mean())


def test_a_constant_prediction_has_no_correlation():
    target, _ = images()
    ours = image_metrics(target, np.full_like(target, 512.3))
    assert [key for key, value in ours.items() if np.isnan(value)] == ["pearson"]


def test_pixels_that_are_not_finite_do_not_count():
    target, prediction = images(dtype=np.float32)
    broken, hole = prediction.copy(), np.zeros(target.shape, bool)
    broken[3, 60], broken[40, 40], target[50, 9] = np.nan, np.inf, -np.inf
    hole[3, 60] = hole[40, 40] = hole[50, 9] = True
    ours, kept = image_metrics(target, broken), ~hole
    t, p = target[kept].astype(float), prediction[kept].astype(float)
    assert ours["pearson"] == pytest.approx(pearsonr(t, p).statistic, rel=1e-9)
    assert ours["mae"] == pytest.approx(np.abs(t - p).mean(), rel=1e-9)
    filled, other = np.where(hole, 0, target).astype(float), np.where(hole, 0, prediction).astype(float)
    _, similar = structural_similarity(
        filled, other, data_range=robust(t), use_sample_covariance=False, full=True, **SKIMAGE["gaussian"]
    )
    whole = np.ones_like(hole)
    for y, x in np.argwhere(hole):
        whole[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6] = False
    whole[:5] = whole[-5:] = whole[:, :5] = whole[:, -5:] = False
    assert ours["ssim"] == pytest.approx(similar[whole].mean(), rel=1e-9)


def test_without_a_finite_pixel_every_metric_is_nan():
    target, _ = images()
    assert np.isnan(list(image_metrics(target, np.full_like(target, np.nan)).values())).all()


def test_a_mask_selects_the_pixels_and_keeps_the_range():
    target, prediction = images()
    mask = target > np.median(target)
    ours = image_metrics(target, prediction, mask)
    t, p = target[mask].astype(float), prediction[mask].astype(float)
    data_range = robust(target)
    assert ours["pearson"] == pytest.approx(pearsonr(t, p).statistic, rel=1e-9)
    assert ours["psnr"] == pytest.approx(10 * np.log10(data_range**2 / np.mean((t - p) ** 2)), rel=1e-9)
    _, similar = structural_similarity(
        target.astype(float),
        prediction.astype(float),
        data_range=data_range,
        use_sample_covariance=False,
        full=True,
        **SKIMAGE["gaussian"],
    )
    assert ours["ssim"] == pytest.approx(similar[5:-5, 5:-5][mask[5:-5, 5:-5]].mean(), rel=1e-9)


def test_an_empty_mask_gives_nan():
    target, prediction = images()
    assert np.isnan(list(image_metrics(target, prediction, np.zeros(target.shape, bool)).values())).all()


def test_a_volume_is_scored_by_slice_and_as_a_whole():
    target, prediction = images((3, 40, 50), np.uint16)
    target[1] //= 2
    masks = {"whole": None, "bright": target > 600}
    table = {(unit.z, unit.mask): unit.values for unit in scores(target, prediction, masks, Definitions())}
    assert set(table) == {(z, mask) for z in (0, 1, 2, None) for mask in masks}
    for z in range(3):
        assert table[z, "whole"] == pytest.approx(reference(target[z], prediction[z]), rel=1e-9)
    t, p, volume = target.astype(float), prediction.astype(float), table[None, "whole"]
    kernel = {"data_range": robust(t), "use_sample_covariance": False, **SKIMAGE["gaussian"]}
    assert volume["ssim"] == pytest.approx(
        np.mean([structural_similarity(t[z], p[z], **kernel) for z in range(3)]), rel=1e-9
    )
    assert volume["pearson"] == pytest.approx(pearsonr(t.ravel(), p.ravel()).statistic, rel=1e-9)
    assert volume == image_metrics(target, prediction)


@pytest.mark.parametrize(
    ("target", "prediction", "mask"),
    [((5, 6), (5, 7), None), ((5, 6), (5, 6), (6, 5)), ((2, 5, 6), (5, 6), None), ((5,), (5,), None)],
)
def test_shapes_that_differ_are_named(target, prediction, mask):
    with pytest.raises(DatasetError, match=r"px|must be"):
        image_metrics(np.zeros(target), np.zeros(prediction), None if mask is None else np.zeros(mask, bool))


def test_the_table_describes_every_column_in_order():
    assert tuple(metric.key for metric in metric_table(Definitions())) == METRICS
    for definitions in (Definitions(), Definitions(ssim_window="uniform", nrmse_by="range")):
        text = describe_columns(definitions)
        for metric in metric_table(definitions):
            assert all(part in text for part in metric)
    assert describe_columns(Definitions()) != describe_columns(Definitions(nrmse_by="range"))
