"""Calibrate a model's trust on its training positions, and compare inputs with them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from napari_vstain.core.arrays import Float
from napari_vstain.core.errors import DatasetError, ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.models.calibration import CALIBRATION_VERSION, Calibration, ChannelCalibration
from napari_vstain.core.models.spec import ModelSpec, Statistics
from napari_vstain.core.novelty.distribution import Distance, Distribution
from napari_vstain.core.novelty.features import Features, Patch, features_of
from napari_vstain.core.novelty.voxel_size import voxels_apart

FALSE_ALARM = 0.01
"""How often a position like those of the training may be flagged, at most."""
_HOT = 1.5
"""How much asinh of the skewness of the finest band changes by single pixels, and by no structure that optics make."""
_GAIN_LIMIT, _OFFSET_LIMIT = np.log(4.0), 6.0


class Novelty(NamedTuple):
    """How unlike the training data one source channel looks where it does most."""

    channel: str
    score: float
    """In multiples of what a position like those of the training stays below, but for 1 % of them."""
    reason: str
    """What deviates most."""
    t: int = 0
    """Time point."""
    patch: Patch | None = None
    """Where; None when it is the image as a whole."""

    @property
    def unlike(self) -> bool:
        """True when it is further from the training data than like positions are."""
        return not self.score <= 1


def calibrate(spec: ModelSpec, positions: Iterable[Any]) -> Calibration:
    """Return what `ModelSpec.novelty` holds: what the sources of a model's training and validation positions are like.

    Every position is held against the others, as an unseen one would be; the limit is where the distances of such
    positions end, but for `FALSE_ALARM` of them, as far as their number tells.

    Parameters
    ----------
    positions : iterable of array, (C, Z, Y, X), numpy, zarr, dask or `PositionImage`
        Raw sources in the model's order; a quarter of the pixels of one is read before the next is asked for.

    Raises
    ------
    DatasetError
        When no position has any structure.
    """
    found: dict[str, list[Features]] = {channel: [] for channel in spec.sources}
    for image in positions:
        for channel, features in zip(spec.sources, features_of(image), strict=True):
            if features is not None:
                found[channel].append(features)
    share = FALSE_ALARM / len(spec.sources)
    channels = {name: _calibrated(name, images, share) for name, images in found.items()}
    return Calibration(version=CALIBRATION_VERSION, channels=channels)


def check_input(spec: ModelSpec, image: Any, spacing_um: Sequence[float | None] | None = None) -> list[str]:
    """Return one sentence for each way in which an input looks unlike the model's training data; none when it does not.

    Parameters
    ----------
    image : array, (C, Y, X) or (C, Z, Y, X), numpy, zarr, dask or `PositionImage`
        Raw sources in the model's order, of a whole position; every block of 512 px is looked at.
    spacing_um : (Z, Y, X), optional
        Its voxel size in micrometres; None when it is not known.
    """
    return check_times(spec, {0: image}, spacing_um)


def check_times(
    spec: ModelSpec, images: Mapping[int, Any], spacing_um: Sequence[float | None] | None = None
) -> list[str]:
    """Return what `check_input` does of several time points: of each channel the worst, with its time and place.

    Parameters
    ----------
    images : mapping by time point
        See `check_input`; they are asked for one after the other.
    """
    if cannot := cannot_judge(spec):
        return [*_spacing_sentences(spec, spacing_um), cannot]
    worst: dict[str, Novelty] = {}
    for t, image in images.items():
        for found in novelty(spec, image, t):
            if found.channel not in worst or found.score > worst[found.channel].score:
                worst[found.channel] = found
    unlike = [_sentence(found, several=len(images) > 1) for found in worst.values() if found.unlike]
    return [*_spacing_sentences(spec, spacing_um), *unlike]


def cannot_judge(spec: ModelSpec) -> str:
    """Return why a model cannot say whether an input is like its training data, in a sentence; nothing when it can."""
    if spec.novelty.channels:
        return ""
    why = "its record of them is of another version" if spec.novelty.version else "it keeps no record of them"
    return f"Whether the images are like those that the model was trained on cannot be judged: {why}."


def novelty(spec: ModelSpec, image: Any, t: int = 0) -> list[Novelty]:
    """Return how unlike the training data each source looks; nothing for a model that cannot judge."""
    if cannot_judge(spec):
        return []
    known = spec.novelty.channels
    image = image if image.ndim == 4 else image[:, None]
    return [
        _compared(channel, features, known[channel], spec)._replace(t=t)
        for channel, features in zip(spec.sources, features_of(image), strict=True)
        if channel in known
    ]


def check_calibration(spec: ModelSpec) -> None:
    """Raise ModelError when what a model knows of its training images cannot be compared with."""
    rule = "holds what it knows of its training images in a way that cannot be read"
    with reading("model", spec.name or None, rule, "train it again, or choose another model", kind=ModelError):
        for known in spec.novelty.channels.values():
            Distribution.of_record(known, spec.novelty.version)


def _compared(channel: str, features: Features | None, known: ChannelCalibration, spec: ModelSpec) -> Novelty:
    if features is None:
        return Novelty(channel, float("inf"), "it is the same value nearly everywhere")
    found = Distribution.of_record(known, spec.novelty.version).furthest(features)
    if spec.source_normalization.level == "dataset" and channel in spec.statistics:
        reason = _brightness(features, spec.statistics[channel], known)
        if reason:
            return Novelty(channel, max(found.ratio, 1.01), reason)
    return Novelty(
        channel, found.ratio, _reason(found), patch=None if found.patch is None else features.patches[found.patch]
    )


def _calibrated(channel: str, images: list[Features], share: float) -> ChannelCalibration:
    if not images:
        raise DatasetError("source channel", channel, "is constant in every position", "choose other positions")
    ratio = [np.log(image.std / images[0].std) for image in images]
    return Distribution.of(images, share).record(
        positions=len(images), std=float(np.median([image.std for image in images])), gain=float(np.ptp(ratio))
    )


def _reason(found: Distance) -> str:
    """Return what the deviation means for who looks through the microscope."""
    if found.group == "polarity":
        if found.turned:
            return "bright and dark are the other way round"
        if abs(found.features[0] - found.expected[0]) > _HOT:
            return "single pixels stand out from their neighbours: they may be hot"
        return "its structures are of another kind"
    if found.group == "structure":
        change: Float = found.features - found.expected
        finest = float(change[np.isfinite(change)][:2].mean()) if np.isfinite(change).any() else 0.0
        if finest < 0:
            return "its fine structure is missing: it may be out of focus, or of another magnification"
        return "its fine structure is stronger: it may be noisier, or of another magnification"
    if found.group == "saturation":
        return "many pixels are at its darkest or its brightest value: it may be clipped"
    return "its darkest or brightest places are unlike"


def _brightness(features: Features, trained: Statistics, known: ChannelCalibration) -> str:
    """Return what is wrong with an image's raw intensities for a model that normalizes by its training data's."""
    gain = np.log(features.std / known.std)
    offset = (features.mean - trained.mean) / max(trained.std, 1e-12)
    if abs(gain) > _GAIN_LIMIT + known.gain:
        return f"its contrast is {np.exp(gain):.2g} times that of the training data"
    if abs(offset) > _OFFSET_LIMIT * max(1.0, features.std / max(trained.std, 1e-12)):
        return f"its mean of {features.mean:.4g} is far from the training data's {trained.mean:.4g}"
    return ""


def _sentence(found: Novelty, several: bool) -> str:
    at = f" at t {found.t}" if several or found.t else ""
    if found.patch is not None:
        at += f" around y {found.patch.y}, x {found.patch.x}" + (f", z {found.patch.z}" if found.patch.z else "")
    return (
        f"{found.channel} looks unlike the model's training data{at} (score {found.score:.2g}, where like images stay "
        f"below 1): {found.reason}. Check the channel, the focus and the magnification before you trust it."
    )


def _spacing_sentences(spec: ModelSpec, spacing_um: Sequence[float | None] | None) -> list[str]:
    apart = voxels_apart(spec, spacing_um)
    if not apart:
        return []
    said = ", ".join(
        f"{here:.3g} µm along {axis} where the model was trained at {there:.3g}" for axis, here, there in apart
    )
    return [f"The voxel size differs: {said}. Choose “Resample” to predict at the model's voxel size."]
