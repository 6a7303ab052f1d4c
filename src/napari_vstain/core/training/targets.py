"""Targets are normalized as it is set, or as the contrast of the training positions asks for: said in a sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from napari_vstain.core.models.spec import Normalization, Statistics
from napari_vstain.core.settings import Settings

ALIKE = 2.0
"""Up to this ratio of the positions' contrasts they are normalized together: the dimmest then counts a quarter of
the brightest in a mean squared error, and what is gained by position is lost in calibration. The same for the
difference of their backgrounds over the contrast."""
_BRIGHTEST = 2e-4
"""Share of a position's values that may be hot pixels."""
_BINS = 256

Pairs = Mapping[str, tuple[float, float]]
_HOW = {
    "dataset": "by the statistics of all training positions together",
    "fov": "position by position",
    "timepoint": "time point by time point",
    "fixed": "by fixed numbers",
}


class TargetNormalization(Settings):
    """How targets become what a network learns."""

    level: Literal["auto", "dataset", "fov", "timepoint", "fixed"] = Field(
        "auto",
        title="Level",
        description="Whose statistics are used: those of all training positions (dataset), of each position (fov), so "
        "that dim and bright ones count alike, of each time point, or fixed numbers; auto chooses between dataset "
        "and fov by how much the brightness of the targets differs between the training positions.",
    )
    subtract: Literal["mean", "median", "min", "p1", "p5"] = Field(
        "mean", title="Subtract", description="The statistic that is subtracted."
    )
    divide: Literal["std", "iqr", "p95_p5", "p99_p1"] = Field(
        "std", title="Divide by", description="The statistic that is divided by."
    )
    fixed: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        title="Fixed numbers",
        description="Of level fixed: offset and divisor of each target, in its own units.",
    )

    def by(self, level: Literal["dataset", "fov", "timepoint"]) -> Normalization:
        """Return the same statistics at a level."""
        return Normalization(level=level, subtract=self.subtract, divide=self.divide)

    @model_validator(mode="after")
    def _fixed_has_its_numbers(self) -> Self:
        if (self.level == "fixed") != bool(self.fixed):
            raise ValueError("fixed numbers go with level fixed, and it needs them for every target")
        for target, (offset, divisor) in self.fixed.items():
            if not (np.isfinite(offset) and 0 < divisor < np.inf):
                raise ValueError(f"the divisor of {target} must be a positive number, and its offset a number")
        return self


@dataclass(frozen=True)
class TargetScale:
    """How the targets of a training are normalized, once its positions were measured."""

    normalization: Normalization
    fixed: Pairs
    """Offset and divisor by target, where these are set."""
    sentence: str
    """Which way it is, and why."""

    @property
    def by_position(self) -> bool:
        """True when every position, or time point, is normalized by itself."""
        return self.normalization.level != "dataset"

    def pair(self, target: str, statistics: Statistics) -> tuple[float, float]:
        """Return offset and divisor of a target, of whose statistics the level says."""
        return self.fixed[target] if target in self.fixed else self.normalization.offset_and_divisor(statistics)


class Brightness(NamedTuple):
    """How bright a stain is at one position, in its own units."""

    background: float
    contrast: float
    """How far bright pixels lie above the background."""


def choose(settings: TargetNormalization, found: Mapping[str, Mapping[str, Brightness]]) -> TargetScale:
    """Return how targets are normalized: as set, or by how bright each target is, by position."""
    if settings.level != "auto":
        level = settings.level
        scale = settings.by("dataset" if level == "fixed" else level)
        return TargetScale(scale, settings.fixed, f"Targets are normalized {_HOW[level]}, as set.")
    if not found:
        return TargetScale(settings.by("dataset"), {}, "No target is an intensity: they are learned as they are.")
    differences = [_difference(target, list(known.values())) for target, known in found.items()]
    ratio, said = max(differences, key=lambda difference: difference[0])
    level = "fov" if ratio > ALIKE else "dataset"
    why = f"{'since' if ratio > ALIKE else 'as'} {said}"
    return TargetScale(settings.by(level), {}, f"Targets are normalized {_HOW[level]}, {why}.")


def brightness(values: npt.NDArray[Any]) -> Brightness:
    """Return background and contrast of an image: the mean of Otsu's dark class, and how far the bright one's is above.

    Unlike the standard deviation they tell the stain's brightness, however many cells there are. The very brightest
    values count as the next ones: one hot pixel is no class.

    Parameters
    ----------
    values : (N,)
        Finite intensities, not all the same.
    """
    from skimage.filters import threshold_otsu

    ordered = np.sort(values.astype(np.float64))
    highest = ordered[-1 - int(_BRIGHTEST * ordered.size)]
    clipped = np.minimum(ordered, highest) if highest > ordered[0] else ordered
    bright = clipped > threshold_otsu(clipped, nbins=_BINS)
    background = float(clipped[~bright].mean())
    return Brightness(background, float(clipped[bright].mean()) - background)


def _difference(target: str, known: Sequence[Brightness]) -> tuple[float, str]:
    """Return how much positions differ, 1 for not at all, and say it."""
    if len(known) < 2:
        return 1.0, "there is one"
    contrasts, backgrounds = [one.contrast for one in known], [one.background for one in known]
    low, high = min(contrasts), max(contrasts)
    shift = (max(backgrounds) - min(backgrounds)) / float(np.median(contrasts))
    if shift > ALIKE and shift > high / low:
        return shift, f"the background of {target} differs between them by {shift:.3g} times its contrast"
    return high / low, f"the contrast of {target} differs {high / low:.3g}-fold between them ({low:.3g} to {high:.3g})"


def typical(known: Sequence[Statistics]) -> Statistics:
    """Return the statistics of the typical position: the median of each number over positions."""
    columns = {name: [getattr(one, name) for one in known] for name in Statistics.model_fields}
    return Statistics(**{name: _median(column) for name, column in columns.items()})


def _median(numbers: Iterable[float | None]) -> float | None:
    given = [number for number in numbers if number is not None]
    return float(np.median(given)) if given else None
