"""Say when an input looks unlike the training data: its spatial spectrum, its intensities, or its voxel size.

A model has no opinion on images of another kind: it predicts something all the same. So each model keeps, for every
source, how small patches of its training positions look, and from how far a position that was held out may look
different. `calibrate` measures that once, at the end of a training; `check_input` compares, in a few milliseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_vstain.core.data import Position
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.inference.voxels import voxels_apart
from napari_vstain.core.models.spec import ModelSpec, Statistics

Float = npt.NDArray[np.float64]
VERSION = 1
FALSE_ALARM = 0.01
"""How often a position like those of the training may be flagged, at most."""
PATCH_PX = 128
_MOST = 6
"""Patches along Y and along X."""
_SLICES = 3
_BINS = np.geomspace(1 / 64, 0.5, 13)
"""Edges of the spectrum's radial bins, in cycles per pixel."""
_QUANTILES = (1, 5, 25, 50, 75, 95, 99)
_N_BINS, _N_QUANTILES = len(_BINS) - 1, len(_QUANTILES)
_TOLERANCES = np.array([0.15] * _N_BINS + [0.1] * _N_QUANTILES + [0.3])
"""How far each feature may always wander: fields of one experiment differ that much."""
_SHRINKAGE = (0.05, 0.3)
"""Of the scatter of patches and of positions towards independent features: positions are few."""
_AT_ONCE = 4
"""Neighbouring patches look alike: more than this many count as this many."""
_SAMPLES = (1, 4, 16, _MOST**2)
"""Numbers of patches that the limit is calibrated for: the fewer there are, the more a position's score scatters."""
_DRAWS = 24
_PRIOR = (4, 0.35)
"""Degrees of freedom and scatter of log scores, assumed before any is seen: a few positions say little of it."""
_GAIN_LIMIT, _OFFSET_LIMIT = np.log(4.0), 6.0


class Novelty(NamedTuple):
    """How unlike the training data one source channel looks."""

    channel: str
    score: float
    """Root mean square of the deviations from the training patches, in their own scatter; infinite when it is flat."""
    limit: float
    """What a position like those of the training stays below, but for 1 % of them."""
    reason: str
    """What deviates most."""

    @property
    def unlike(self) -> bool:
        """True when the score is beyond the limit."""
        return not self.score <= self.limit


@dataclass(frozen=True)
class Look:
    """How the patches of one channel of one position look."""

    features: Float
    """(patches, features): log spectrum without its mean, quantiles of the standardized intensities, and the mean over
    the standard deviation; the last two compressed by asinh."""
    mean: float
    std: float
    """Of all patches together, in the channel's units."""


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


@dataclass(frozen=True)
class PositionImage:
    """Some channels of one time point of a position as an array, (C, Z, Y, X), of which patches are read."""

    position: Position
    channels: tuple[str, ...]
    t: int = 0
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes in pixels."""
        return (len(self.channels), *self.position.shape[2:])

    def __getitem__(self, place: tuple[int, int, slice, slice]) -> npt.NDArray[Any]:
        channel, z, y, x = place
        return np.asarray(self.position.read([self.channels[channel]], self.t, slice(z, z + 1), y, x)[0, 0])


def calibrate(spec: ModelSpec, positions: Iterable[Any]) -> dict[str, Any]:
    """Return what `ModelSpec.novelty` holds: how the sources of a model's training and validation positions look.

    Every position is scored against the others, as an unseen one would be; the limit is where the scores of such
    positions end, but for `FALSE_ALARM` of them, as far as their number tells.

    Parameters
    ----------
    positions : iterable of array, (C, Z, Y, X), numpy, zarr, dask or `PositionImage`
        Raw sources in the model's order; one is looked at, at a few dozen patches, before the next is asked for.

    Raises
    ------
    DatasetError
        When no position has any structure.
    """
    looks: dict[str, list[Look]] = {channel: [] for channel in spec.sources}
    for image in positions:
        for channel, look in zip(spec.sources, _looks(image), strict=True):
            if look is not None:
                looks[channel].append(look)
    share = FALSE_ALARM / len(spec.sources)
    return {"version": VERSION, "channels": {name: _calibrated(name, found, share) for name, found in looks.items()}}


def check_input(spec: ModelSpec, image: Any, spacing_um: Sequence[float | None] | None = None) -> list[str]:
    """Return one sentence for each way in which an input looks unlike the model's training data; none when it does not.

    Parameters
    ----------
    image : array, (C, Y, X) or (C, Z, Y, X), numpy, zarr, dask or `PositionImage`
        Raw sources in the model's order, of a whole position; a few dozen patches of it are read.
    spacing_um : (Z, Y, X), optional
        Its voxel size in micrometres; None when it is not known.
    """
    sentences = _spacing_sentences(spec, spacing_um)
    for found in novelty(spec, image):
        if found.unlike:
            sentences.append(_sentence(found))
    return sentences


def novelty(spec: ModelSpec, image: Any) -> list[Novelty]:
    """Return how unlike the training data each source looks; nothing for a model that was never calibrated."""
    known = spec.novelty.get("channels", {})
    if spec.novelty.get("version") != VERSION:
        return []
    image = image if image.ndim == 4 else image[:, None]
    return [
        _compared(channel, look, known[channel], spec)
        for channel, look in zip(spec.sources, _looks(image), strict=True)
        if channel in known
    ]


def _compared(channel: str, look: Look | None, known: Mapping[str, Any], spec: ModelSpec) -> Novelty:
    if look is None:
        return Novelty(channel, float("inf"), 0.0, "it is the same value nearly everywhere")
    scatter = Scatter(*(np.array(known[name]) for name in Scatter._fields))
    deviation, spread = _typical(look.features) - scatter.mean, scatter.of(len(look.features))
    score = _score(deviation, spread)
    limit = _limit_for(len(look.features), known["limits"])
    if spec.source_normalization.level == "dataset" and channel in spec.statistics:
        reason = _brightness(look, spec.statistics[channel], known)
        if reason:
            return Novelty(channel, max(score, 1.01 * limit), limit, reason)
    return Novelty(channel, score, limit, _reason(deviation, spread))


def _calibrated(channel: str, looks: list[Look], share: float) -> dict[str, Any]:
    if not looks:
        raise DatasetError("source channel", channel, "is constant in every position", "choose other positions")
    groups = [look.features for look in looks]
    ratio = [np.log(look.std / looks[0].std) for look in looks]
    return {
        **{name: _rounded(values) for name, values in _scatter(groups)._asdict().items()},
        "limits": {str(count): limit for count, limit in _limits(groups, share).items()},
        "positions": len(looks),
        "std": float(np.median([look.std for look in looks])),
        "gain": float(np.ptp(ratio)),
    }


def _limits(groups: list[Float], share: float) -> dict[int, float]:
    """Return, for each number of patches, the score that a position not in `groups` stays below but for a `share`."""
    from scipy.stats import t as student

    positions = len(groups)
    groups = groups if positions > 1 else [part for part in np.array_split(groups[0], 4) if len(part)]
    generator = np.random.default_rng(0)
    scores: dict[int, list[Float]] = {count: [] for count in _SAMPLES}
    for index, group in enumerate(groups):
        scatter = _scatter([other for place, other in enumerate(groups) if place != index] or groups)
        for count in _SAMPLES:
            spread = scatter.of(min(count, len(group)))
            drawn = [_typical(generator.permutation(group)[:count]) - scatter.mean for _ in range(_DRAWS)]
            scores[count].append(np.log([max(_score(one, spread), 1e-3) for one in drawn]))
    freedom, prior = _PRIOR
    degrees = freedom + len(groups) - 1
    quantile = float(student.ppf(1 - share, degrees)) * np.sqrt(1 + 1 / len(groups))
    limits: dict[int, float] = {}
    for count, found in scores.items():
        values = np.concatenate(found)
        deviation = np.sqrt((freedom * prior**2 + (len(groups) - 1) * values.var()) / degrees)
        limits[count] = float(np.exp(values.mean() + quantile * deviation) * (1 + 1 / positions**2))
    return limits


def _scatter(groups: Sequence[Float]) -> Scatter:
    """Return how patches scatter within and between groups, each group a position's."""
    within = np.mean([_covariance(group) for group in groups], axis=0)
    between = _covariance(np.stack([_typical(group) for group in groups]))
    return Scatter(np.concatenate(groups).mean(0), _shrunk(within, _SHRINKAGE[0]), _shrunk(between, _SHRINKAGE[1]))


def _covariance(rows: Float) -> Float:
    if len(rows) < 2:
        return np.zeros((rows.shape[1], rows.shape[1]))
    return np.asarray(np.cov(rows, rowvar=False), np.float64)


def _shrunk(covariance: Float, share: float) -> Float:
    return np.asarray((1 - share) * covariance + share * np.diag(np.diag(covariance)), np.float64)


def _typical(features: Float) -> Float:
    return np.asarray(np.median(features, axis=0), np.float64)


def _score(deviation: Float, spread: Float) -> float:
    """Return the Mahalanobis distance, per feature."""
    return float(np.sqrt(deviation @ np.linalg.solve(spread, deviation) / len(deviation)))


def _limit_for(patches: int, limits: Mapping[str, float]) -> float:
    counts = sorted(map(int, limits))
    return limits[str(max((count for count in counts if count <= patches), default=counts[0]))]


def _reason(deviation: Float, spread: Float) -> str:
    squares = deviation**2 / np.diag(spread)
    parts = {
        "its coarse structure": squares[: _N_BINS // 2],
        "its fine structure": squares[_N_BINS // 2 : _N_BINS],
        "the distribution of its intensities": squares[_N_BINS : _N_BINS + _N_QUANTILES],
        "its brightness against its contrast": squares[_N_BINS + _N_QUANTILES :],
    }
    return f"{max(parts, key=lambda name: parts[name].mean())} differs most"


def _brightness(look: Look, trained: Statistics, known: Mapping[str, Any]) -> str:
    """Return what is wrong with an image's raw intensities for a model that normalizes by its training data's."""
    gain = np.log(look.std / known["std"])
    offset = (look.mean - trained.mean) / max(trained.std, 1e-12)
    if abs(gain) > _GAIN_LIMIT + known["gain"]:
        return f"its contrast is {np.exp(gain):.2g} times that of the training data"
    if abs(offset) > _OFFSET_LIMIT * max(1.0, look.std / max(trained.std, 1e-12)):
        return f"its mean of {look.mean:.4g} is far from the training data's {trained.mean:.4g}"
    return ""


def _sentence(found: Novelty) -> str:
    return (
        f"{found.channel} looks unlike the model's training data (score {found.score:.2g}, where like images stay "
        f"below {found.limit:.2g}): {found.reason}. Check the channel and the magnification before you trust it."
    )


def _spacing_sentences(spec: ModelSpec, spacing_um: Sequence[float | None] | None) -> list[str]:
    apart = voxels_apart(spec, spacing_um)
    if not apart:
        return []
    said = ", ".join(
        f"{here:.3g} µm along {axis} where the model was trained at {there:.3g}" for axis, here, there in apart
    )
    return [f"The voxel size differs: {said}. Choose “Resample” to predict at the model's voxel size."]


def _looks(image: Any) -> list[Look | None]:
    """Return how each channel of an image, (C, Z, Y, X), looks; None for one without structure."""
    return [_look(_patches(image, channel)) for channel in range(image.shape[0])]


def _look(patches: list[Float]) -> Look | None:
    values = np.concatenate([patch.ravel() for patch in patches]) if patches else np.zeros(0)
    std = float(values.std()) if values.size else 0.0
    if not std > 0:
        return None
    mean = float(values.mean())
    found = [_features(patch, mean, std) for patch in patches if patch.max() > patch.min()]
    return Look(np.stack(found), mean, std)


def _features(patch: Float, mean: float, std: float) -> Float:
    quantiles = np.percentile((patch - mean) / std, _QUANTILES)
    return np.concatenate([_spectrum(patch), np.arcsinh(quantiles), [np.arcsinh(mean / std)]])


def _spectrum(patch: Float) -> Float:
    """Return the log of the radial power spectrum, less its mean; small patches' empty bins take their neighbours'."""
    height, width = patch.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    centred = (patch - np.average(patch, weights=window)) * window
    power = np.abs(np.fft.rfft2(centred)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    bins = np.digitize(radius.ravel(), _BINS)
    sums = np.bincount(bins, power.ravel(), _N_BINS + 2)[1:-1]
    counts = np.bincount(bins, minlength=_N_BINS + 2)[1:-1]
    filled = counts > 0
    least = max(1e-10 * float(power.max()), np.finfo(float).tiny)
    logs = np.log(np.maximum(sums[filled] / counts[filled], least))
    whole = np.interp(np.arange(_N_BINS), np.flatnonzero(filled), logs)
    return np.asarray(whole - whole.mean(), np.float64)


def _patches(image: Any, channel: int) -> list[Float]:
    """Return patches of a channel spread over its slices and its plane; what is not finite is the patch's mean."""
    _, depth, height, width = image.shape
    slices = sorted({round((index + 0.5) * depth / min(depth, _SLICES) - 0.5) for index in range(min(depth, _SLICES))})
    rows, columns = _starts(height), _starts(width)
    found = []
    for z in slices:
        for y in rows:
            for x in columns:
                block = np.asarray(image[channel, z, y : y + PATCH_PX, x : x + PATCH_PX], np.float64)
                if (filled := _filled(block)) is not None:
                    found.append(filled)
    return found


def _starts(size: int) -> list[int]:
    count = min(max(size // PATCH_PX, 1), _MOST)
    return [round(start) for start in np.linspace(0, max(size - PATCH_PX, 0), count)]


def _filled(block: Float) -> Float | None:
    good = np.isfinite(block)
    if good.all():
        return block
    return np.where(good, block, block[good].mean()) if good.mean() > 0.5 else None


def _rounded(values: Float) -> Any:
    return [float(f"{one:.6g}") if np.ndim(one) == 0 else _rounded(one) for one in values]
