"""Normalization statistics of a dataset, in VisCy's layout."""

from napari_vstain.core.preprocessing.stage import PreprocessResult, PreprocessSettings, run
from napari_vstain.core.preprocessing.statistics import (
    Level,
    compute_statistics,
    image_statistics,
    pooled_statistics,
    read_statistics,
    statistics_of,
)
from napari_vstain.core.preprocessing.usability import unusable, usable_statistics

__all__ = [
    "Level",
    "PreprocessResult",
    "PreprocessSettings",
    "compute_statistics",
    "image_statistics",
    "pooled_statistics",
    "read_statistics",
    "run",
    "statistics_of",
    "unusable",
    "usable_statistics",
]
