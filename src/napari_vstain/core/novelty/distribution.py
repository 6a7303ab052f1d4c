"""How features of like images are distributed, how far others lie from them, and where like images' distances end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_vstain.core.arrays import Float
from napari_vstain.core.models.calibration import ChannelCalibration
from napari_vstain.core.novelty.features import GROUPS, N_FEATURES, Features

_TOLERANCES = np.array([0.25, 0.25, 0.4, 0.5, 0.8] + [0.7] * 5 + [0.5] * 2 + [0.5] * 2)
"""How far each feature may always wander: fields of one experiment differ that much, and no prediction suffers.

Of the coarsest bands an image holds few structures, so which way they point is known least; and the larger an image,
the brighter its brightest place.
"""
_FLOOR = 0.3
"""Added to distances before their logarithms are compared, or one position that fits by luck spoils the scatter."""
_PRIOR = (8, 0.3)
"""Degrees of freedom and scatter of log distances, assumed before any is seen: a few positions say little of it."""
_IGNORED = 1e6
"""Variance of a feature that training images were too small to have."""


@dataclass(frozen=True)
class Distance:
    """How far an image, or one patch of it, lies from like images in one group of features."""

    group: str
    ratio: float
    """Of where like images end: beyond 1 it is unlike them."""
    patch: int | None
    """Index of the patch; None for the image as a whole."""
    features: Float
    """Of the group."""
    expected: Float
    turned: bool = False
    """True when it is unlike them, and would be like them if bright and dark changed places."""


@dataclass(frozen=True)
class Distribution:
    """Features of like images: each feature's mean and variance over whole images, and over single patches."""

    whole: tuple[Float, Float]
    patch: tuple[Float, Float]
    patches: int
    """Of a typical image."""
    limits: Mapping[str, tuple[float, float, float, float]]
    """By group: mean of log distances and their end, for whole images and for the furthest patch of an image."""

    @classmethod
    def of(cls, images: Sequence[Features], share: float) -> "Distribution":
        """Return the distribution of images; an unseen one of their kind is beyond a limit in `share` of all cases.

        Each image is held against the others, as an unseen one would be.
        """
        from scipy.stats import t as student

        found = list(images) if len(images) > 1 else _quarters(images[0])
        whole, patch, patches = _moments(found)
        others = [cls(*_moments(found[:index] + found[index + 1 :]), {}) for index in range(len(found))]
        degrees = _PRIOR[0] + len(images) - 1
        quantile = float(student.ppf(1 - share, degrees)) * np.sqrt(1 + 1 / len(images))
        limits = {}
        for group in GROUPS:
            away = [
                (one._whole(group, held.of(), len(held.patches)), one._patches(group, held).max())
                for one, held in zip(others, found, strict=True)
            ]
            logs = np.log(_FLOOR + np.array(away))
            variance = (_PRIOR[0] * _PRIOR[1] ** 2 + (len(images) - 1) * logs.var(0)) / degrees
            careful = np.log1p(1 / len(images) ** 2)  # quarters of one image are more alike than images are
            ends = logs.mean(0) + quantile * np.sqrt(variance) + careful
            limits[group] = (float(logs[:, 0].mean()), float(ends[0]), float(logs[:, 1].mean()), float(ends[1]))
        return cls(whole, patch, patches, limits)

    @classmethod
    def of_record(cls, known: ChannelCalibration, version: int) -> "Distribution":
        """Return what a model keeps of a channel; of version 2 without polarity, which meant something else then.

        Raises
        ------
        ValueError
            When a feature or the limits of a group are missing.
        """
        mean, variance, patch_mean, patch_variance = (np.array(row, np.float64) for row in known.features)
        if any(row.shape != (N_FEATURES,) for row in (mean, variance, patch_mean, patch_variance)):
            raise ValueError(f"needs {N_FEATURES} features")
        if missing := sorted(GROUPS.keys() - known.limits.keys()):
            raise ValueError(f"needs limits of {', '.join(missing)}")
        if version < 3:
            mean[GROUPS["polarity"]] = patch_mean[GROUPS["polarity"]] = 0
            variance[GROUPS["polarity"]] = patch_variance[GROUPS["polarity"]] = _IGNORED
        return cls((mean, variance), (patch_mean, patch_variance), known.patches, known.limits)

    def record(self, positions: int, std: float, gain: float) -> ChannelCalibration:
        """Return what a model keeps of a channel; the numbers of the distribution are rounded to be short in a file."""
        rows = tuple(tuple(float(f"{value:.5g}") for value in row) for row in (*self.whole, *self.patch))
        limits = {group: tuple(float(f"{value:.5g}") for value in limit) for group, limit in self.limits.items()}
        known = {"features": rows, "patches": self.patches, "limits": limits}
        return ChannelCalibration.parse({**known, "positions": positions, "std": std, "gain": gain})

    def furthest(self, image: Features) -> Distance:
        """Return where an image lies furthest from like ones: in which group, and in which patch, if it is but one."""
        found = []
        for group, place in GROUPS.items():
            _, whole_end, _, patch_end = self.limits[group]
            whole = (self._whole(group, image.of(), len(image.patches)) + _FLOOR) / np.exp(whole_end)
            found.append(Distance(group, float(whole), None, image.of()[place], self.whole[0][place]))
            each = (self._patches(group, image) + _FLOOR) / np.exp(patch_end + self._growth(group, len(image.patches)))
            index = int(each.argmax())
            features = image.of([index])[place]
            found.append(Distance(group, float(each[index]), index, features, self.patch[0][place]))
        furthest = max(found, key=lambda one: one.ratio)
        return replace(furthest, turned=self._turned(image, furthest))

    def _turned(self, image: Features, found: Distance) -> bool:
        """Return whether bright and dark are the other way round.

        Not merely in some bands, as other kinds of cells have them too, but so that the image, or the patch, is like
        the others once they are turned back.
        """
        if found.group != "polarity" or found.ratio <= 1:
            return False
        place, limits = GROUPS["polarity"], self.limits["polarity"]
        features = image.of() if found.patch is None else image.of([found.patch])
        features[place] *= -1
        if found.patch is None:
            back, end = self._whole("polarity", features, len(image.patches)), limits[1]
        else:
            back, end = _distance(features, *self.patch, place), limits[3]
        return bool((back + _FLOOR) / np.exp(end) <= 1)

    def _whole(self, group: str, features: Float, patches: int) -> float:
        """Return the distance of a whole image: of one with few patches more is forgiven."""
        mean, variance = self.whole
        fewer = max(1 / patches - 1 / max(self.patches, 1), 0)
        return _distance(features, mean, variance + fewer * np.minimum(self.patch[1], _IGNORED), GROUPS[group])

    def _patches(self, group: str, image: Features) -> Float:
        return np.array(
            [_distance(image.of([index]), *self.patch, GROUPS[group]) for index in range(len(image.patches))]
        )

    def _growth(self, group: str, patches: int) -> float:
        """Return how much further, in log, the furthest of more patches lies by chance alone."""
        _, _, mean, end = self.limits[group]
        expected = [np.sqrt(2 * np.log(max(count, 2))) for count in (patches, self.patches)]
        return max(float(expected[0] - expected[1]), 0) * (end - mean) / 1.5


def _distance(features: Float, mean: Float, variance: Float, group: slice) -> float:
    """Return the root mean square deviation, in standard deviations, over the features that are there."""
    deviation = (features[group] - mean[group]) ** 2 / (variance[group] + _TOLERANCES[group] ** 2)
    deviation = deviation[np.isfinite(deviation)]
    return float(np.sqrt(deviation.mean())) if deviation.size else 0.0


def _moments(images: Sequence[Features]) -> tuple[tuple[Float, Float], tuple[Float, Float], int]:
    whole = np.stack([image.of() for image in images])
    single = np.stack([image.of([index]) for image in images for index in range(len(image.patches))])
    few = 1 + 3 / len(images)  # the variance of a few images is underestimated
    patches = round(float(np.median([len(image.patches) for image in images])))
    return _mean_and_variance(whole, few), _mean_and_variance(single, few), patches


def _mean_and_variance(rows: Float, factor: float) -> tuple[Float, Float]:
    known = np.isfinite(rows).all(0)
    mean, variance = np.zeros(N_FEATURES), np.full(N_FEATURES, _IGNORED)
    mean[known], variance[known] = rows[:, known].mean(0), factor * rows[:, known].var(0)
    return mean, variance


def _quarters(image: Features) -> list[Features]:
    """Return the patches of one image as if they were of several."""
    parts = [part for part in np.array_split(np.arange(len(image.patches)), 4) if len(part)]
    parts = parts if len(parts) > 1 else parts * 2
    return [
        Features(tuple(image.patches[index] for index in part), image.moments[part], image.extremes[part],
                 image.mean, image.std)
        for part in parts
    ]  # fmt: skip
