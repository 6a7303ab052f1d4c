"""Every intensity metric's formula, range, unit and reference stand in one table."""

from typing import Literal, NamedTuple

from pydantic import Field

from napari_vstain.core.settings import Settings

INTENSITIES = ("pearson", "ssim", "nrmse", "psnr", "mae")
"""The columns of the intensity metrics, in order."""


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


def intensity_table(definitions: Definitions) -> tuple[Metric, ...]:
    """Return what each column of the table means, in the order of `INTENSITIES`."""
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
