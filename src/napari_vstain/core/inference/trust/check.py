"""Calibrate a model's trust on its training positions, and compare inputs with them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from napari_vstain.core.errors import DatasetError, ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.inference.trust.looks import N_BINS, N_QUANTILES, Float, Look, looks_of
from napari_vstain.core.inference.trust.scatter import Scatter, limit_for, limits_of, scatter_of, score_of, typical
from napari_vstain.core.inference.voxels import voxels_apart
from napari_vstain.core.models.spec import ModelSpec, Statistics

VERSION = 1
FALSE_ALARM = 0.01
"""How often a position like those of the training may be flagged, at most."""
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
        for channel, look in zip(spec.sources, looks_of(image), strict=True):
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
        for channel, look in zip(spec.sources, looks_of(image), strict=True)
        if channel in known
    ]


def check_calibration(spec: ModelSpec) -> None:
    """Raise ModelError when what a model knows of its training images cannot be compared with."""
    if spec.novelty.get("version", VERSION) != VERSION:
        return
    rule = "holds what it knows of its training images in a way that cannot be read"
    with reading("model", spec.name or None, rule, "train it again, or choose another model", kind=ModelError):
        for known in dict(spec.novelty.get("channels", {})).values():
            scatter = Scatter(*(np.array(known[name], np.float64) for name in Scatter._fields))
            spread, limits = scatter.of(1), [limit_for(int(count), known["limits"]) for count in known["limits"]]
            numbers = [score_of(scatter.mean, spread), *limits, known["std"], known["gain"]]
            if not (limits and np.isfinite(np.array(numbers, np.float64)).all()):
                raise ValueError("its numbers are not finite")


def _compared(channel: str, look: Look | None, known: Mapping[str, Any], spec: ModelSpec) -> Novelty:
    if look is None:
        return Novelty(channel, float("inf"), 0.0, "it is the same value nearly everywhere")
    scatter = Scatter(*(np.array(known[name]) for name in Scatter._fields))
    deviation, spread = typical(look.features) - scatter.mean, scatter.of(len(look.features))
    score = score_of(deviation, spread)
    limit = limit_for(len(look.features), known["limits"])
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
        **{name: _rounded(values) for name, values in scatter_of(groups)._asdict().items()},
        "limits": {str(count): limit for count, limit in limits_of(groups, share).items()},
        "positions": len(looks),
        "std": float(np.median([look.std for look in looks])),
        "gain": float(np.ptp(ratio)),
    }


def _reason(deviation: Float, spread: Float) -> str:
    squares = deviation**2 / np.diag(spread)
    parts = {
        "its coarse structure": squares[: N_BINS // 2],
        "its fine structure": squares[N_BINS // 2 : N_BINS],
        "the distribution of its intensities": squares[N_BINS : N_BINS + N_QUANTILES],
        "its brightness against its contrast": squares[N_BINS + N_QUANTILES :],
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


def _rounded(values: Float) -> Any:
    return [float(f"{one:.6g}") if np.ndim(one) == 0 else _rounded(one) for one in values]
