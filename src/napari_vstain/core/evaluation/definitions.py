"""Every metric's formula, range, unit and reference stand in one table, which also writes metrics.README."""

from typing import Literal, NamedTuple

from pydantic import Field

from napari_vstain.core.settings import Settings

METRICS = ("pearson", "ssim", "nrmse", "psnr", "mae")
"""The columns, in order."""


class Definitions(Settings):
    """Which of a metric's usual definitions is meant."""

    ssim_window: Literal["gaussian", "uniform"] = Field(
        "gaussian",
        title="SSIM window",
        description="Gaussian (sigma 1.5 px, 11 px wide, as Wang et al.) or uniform (7 px wide).",
    )
    nrmse_by: Literal["std", "range", "norm"] = Field(
        "std",
        title="NRMSE divided by",
        description="The target's standard deviation, its range, or its root mean square.",
    )


class Metric(NamedTuple):
    """One column of the table, for people."""

    key: str
    formula: str
    values: str
    unit: str
    better: str
    reference: str


_DIVISORS = {
    "std": "s_t; 0 is perfect, 1 is as bad as the best constant",
    "range": "L",
    "norm": "sqrt(mean(t^2))",
}
_WINDOWS = {
    "gaussian": "a Gaussian window (sigma 1.5 px, cut at 5 px: 11 x 11)",
    "uniform": "a uniform window (7 x 7 px)",
}


def metric_table(definitions: Definitions) -> tuple[Metric, ...]:
    """Return what each column of the table means, in the order of `METRICS`."""
    window, divisor = _WINDOWS[definitions.ssim_window], _DIVISORS[definitions.nrmse_by]
    return (
        Metric(
            "pearson",
            "sum((t - m_t)(p - m_p)) / (n s_t s_p)",
            "-1 to 1; NaN when t or p is constant",
            "none",
            "higher",
            "Pearson 1895; scipy.stats.pearsonr",
        ),
        Metric(
            "ssim",
            "mean over pixels of (2 u_t u_p + C1)(2 v_tp + C2) / ((u_t^2 + u_p^2 + C1)(v_t + v_p + C2)), where u are "
            f"local means and v population (co)variances in {window}, C1 = (0.01 L)^2, C2 = (0.03 L)^2; pixels whose "
            "window leaves the image or holds a value that is not finite do not count; a volume is the mean over its "
            "slices, with the volume's L",
            "-1 to 1; NaN when t is constant or the image is smaller than the window",
            "none",
            "higher",
            "Wang, Bovik, Sheikh, Simoncelli 2004, doi:10.1109/TIP.2003.819861; skimage.metrics.structural_similarity "
            "(data_range=L, use_sample_covariance=False); torchmetrics differs by counting the reflected border",
        ),
        Metric(
            "nrmse",
            f"sqrt(mean((t - p)^2)) / {divisor}",
            "0 to infinity; NaN when the divisor is 0",
            "none",
            "lower",
            f'torchmetrics NormalizedRootMeanSquaredError(normalization="{definitions.nrmse_by}")'
            if definitions.nrmse_by != "norm"
            else "skimage.metrics.normalized_root_mse(normalization='euclidean')",
        ),
        Metric(
            "psnr",
            "10 log10(L^2 / mean((t - p)^2))",
            "any; infinite when t and p are equal, NaN when t is constant",
            "dB",
            "higher",
            "skimage.metrics.peak_signal_noise_ratio(data_range=L)",
        ),
        Metric("mae", "mean(|t - p|)", "0 to infinity", "the target's intensity unit", "lower", "numpy"),
    )


def describe(definitions: Definitions) -> str:
    """Return the text of metrics.README for these definitions."""
    blocks = [_block(metric) for metric in metric_table(definitions)]
    return f"{_INTRODUCTION}\n\n" + "\n\n".join(blocks) + f"\n\n{_COLUMNS}\n"


def _block(metric: Metric) -> str:
    return (
        f"{metric.key}\n  formula    {metric.formula}\n  range      {metric.values}\n  unit       {metric.unit}\n"
        f"  better     {metric.better}\n  reference  {metric.reference}"
    )


_INTRODUCTION = """\
What the columns of metrics.csv mean

t is the target and p the prediction, both in the target's intensity unit; n is the number of pixels, m a mean, s a
population standard deviation. L is the range of t over all finite pixels of the slice or volume, whatever the mask,
without the highest and the lowest 0.01 % of them, at least one of each: else one hot pixel would decide SSIM and PSNR.
Pixels where t or p is not finite are left out. With a mask, sums run over the pixels of the mask; the SSIM averages
the map of the whole image over the mask. All sums are in double precision."""

_COLUMNS = """\
The other columns
  experiment, run, model   where the prediction comes from; model is the fingerprint of the network and its weights
  predictor                model, or baseline: least squares on the training positions from the sources and their
                           local standard deviations (Gaussian, sigma 2, 4, 8 px), applied unchanged; sources and
                           targets are normalized by position where the model's are. A model that
                           does not beat it has learnt nothing that filters do not know
  dataset                  what was predicted and compared with
  position, t, z           one field of view of it, time point, slice; z is empty for a volume
  split                    whether the position was used to train, validate or test; empty when it was none of these
  verdict                  what a person said of the position's ground truth: unreviewed, accepted, needs work, rejected
  channel                  the target channel
  level                    slice or volume: what one row is computed on
  object_id                empty unless level is object
  mask                     whole; foreground, the pixels of the target above its Otsu threshold in the volume"""
