"""How far apart looks may be: the scatter of training patches, a distance in it, and where like images' scores end."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from napari_vstain.core.inference.trust.looks import MOST, N_BINS, N_QUANTILES, Float

_TOLERANCES = np.array([0.15] * N_BINS + [0.1] * N_QUANTILES + [0.3])
"""How far each feature may always wander: fields of one experiment differ that much."""
_SHRINKAGE = (0.05, 0.3)
"""Of the scatter of patches and of positions towards independent features: positions are few."""
_AT_ONCE = 4
"""Neighbouring patches look alike: more than this many count as this many."""
_SAMPLES = (1, 4, 16, MOST**2)
"""Numbers of patches that the limit is calibrated for: the fewer there are, the more a position's score scatters."""
_DRAWS = 24
_PRIOR = (4, 0.35)
"""Degrees of freedom and scatter of log scores, assumed before any is seen: a few positions say little of it."""


class Scatter(NamedTuple):
    """How patches of the training data scatter, by feature."""

    mean: Float
    within: Float
    """Covariance of the patches of one position."""
    between: Float
    """Covariance of the positions' typical patches."""

    def of(self, patches: int) -> Float:
        """Return the covariance of the typical one of so many patches of a position."""
        return self.within / min(patches, _AT_ONCE) + self.between + np.diag(_TOLERANCES**2)


def scatter_of(groups: Sequence[Float]) -> Scatter:
    """Return how patches scatter within and between groups, each group a position's."""
    within = np.mean([_covariance(group) for group in groups], axis=0)
    between = _covariance(np.stack([typical(group) for group in groups]))
    return Scatter(np.concatenate(groups).mean(0), _shrunk(within, _SHRINKAGE[0]), _shrunk(between, _SHRINKAGE[1]))


def limits_of(groups: list[Float], share: float) -> dict[int, float]:
    """Return, for each number of patches, the score that a position not in `groups` stays below but for a `share`."""
    from scipy.stats import t as student

    positions = len(groups)
    groups = groups if positions > 1 else [part for part in np.array_split(groups[0], 4) if len(part)]
    generator = np.random.default_rng(0)
    scores: dict[int, list[Float]] = {count: [] for count in _SAMPLES}
    for index, group in enumerate(groups):
        scatter = scatter_of([other for place, other in enumerate(groups) if place != index] or groups)
        for count in _SAMPLES:
            spread = scatter.of(min(count, len(group)))
            drawn = [typical(generator.permutation(group)[:count]) - scatter.mean for _ in range(_DRAWS)]
            scores[count].append(np.log([max(score_of(one, spread), 1e-3) for one in drawn]))
    freedom, prior = _PRIOR
    degrees = freedom + len(groups) - 1
    quantile = float(student.ppf(1 - share, degrees)) * np.sqrt(1 + 1 / len(groups))
    limits: dict[int, float] = {}
    for count, found in scores.items():
        values = np.concatenate(found)
        deviation = np.sqrt((freedom * prior**2 + (len(groups) - 1) * values.var()) / degrees)
        limits[count] = float(np.exp(values.mean() + quantile * deviation) * (1 + 1 / positions**2))
    return limits


def limit_for(patches: int, limits: Mapping[str, float]) -> float:
    """Return the limit for a number of patches: that of the most for which one was calibrated and that are there."""
    counts = sorted(map(int, limits))
    return limits[str(max((count for count in counts if count <= patches), default=counts[0]))]


def score_of(deviation: Float, spread: Float) -> float:
    """Return the Mahalanobis distance, per feature."""
    return float(np.sqrt(deviation @ np.linalg.solve(spread, deviation) / len(deviation)))


def typical(features: Float) -> Float:
    """Return the features of a typical patch."""
    return np.asarray(np.median(features, axis=0), np.float64)


def _covariance(rows: Float) -> Float:
    if len(rows) < 2:
        return np.zeros((rows.shape[1], rows.shape[1]))
    return np.asarray(np.cov(rows, rowvar=False), np.float64)


def _shrunk(covariance: Float, share: float) -> Float:
    return np.asarray((1 - share) * covariance + share * np.diag(np.diag(covariance)), np.float64)
