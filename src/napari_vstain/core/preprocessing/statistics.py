"""Normalization statistics: computed from samples, stored in VisCy's layout, read from whatever version wrote them."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from napari_vstain.core.arrays import Image
from napari_vstain.core.data import Dataset, Position, change_record, recorded
from napari_vstain.core.data.identity import Identity, as_record, identify
from napari_vstain.core.errors import ChannelError, NormalizationError, StorageError
from napari_vstain.core.models import Statistics
from napari_vstain.core.preprocessing.sampling import (
    GRID_SPACING_PX,
    PixelSample,
    SampleMoments,
    Values,
    frames,
    sample_frame,
)
from napari_vstain.core.progress import Progress

Level = Literal["dataset", "fov", "timepoint"]
NORMALIZATION = "normalization"
"""The top-level attribute."""
OWN = "timepoint_statistics"
"""Under our own key: statistics of a position at each of its times, by channel and time."""
SEEN = "statistics_of"
"""Under our own key: which pixels the statistics of a channel were taken from, of a position."""
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_log = logging.getLogger(__name__)


def compute_statistics(values: Values | PixelSample, *, otsu: bool = False) -> Statistics:
    """Return the statistics of sampled intensities, in their own units.

    Parameters
    ----------
    values : (N,), or a sample
        Finite intensities, not all the same.
    otsu : bool
        Also find the threshold between dark and bright (Otsu 1979).
    """
    if not isinstance(values, PixelSample):
        sample = PixelSample(limit=values.size)
        sample.add(values)
        return compute_statistics(sample, otsu=otsu)
    kept, exact = values.values.astype(np.float64), values.moments
    p1, p5, p25, p50, p75, p95, p99 = map(float, np.percentile(kept, _PERCENTILES))
    return Statistics(
        mean=exact.mean, std=exact.std, median=p50, iqr=p75 - p25,
        min=exact.min, max=exact.max, p1=p1, p5=p5, p95=p95, p99=p99,
        p95_p5=p95 - p5, p99_p1=p99 - p1, otsu_threshold=_otsu(kept) if otsu else None,
    )  # fmt: skip


def image_statistics(array: Any, spacing_px: int = GRID_SPACING_PX, name: str = "image") -> Statistics:
    """Return the statistics of one channel's image, numpy or lazy, (…, Y, X), read slice by slice.

    Raises
    ------
    NormalizationError
        When no slice has two different finite pixels; it names the channel `name`.
    """
    slices = (np.asarray(array[index]) for index in np.ndindex(*array.shape[:-2]))
    return _statistics_of_frames(slices, name, spacing_px)


def pooled_statistics(
    positions: Iterable[Position],
    channel: str,
    spacing_px: int = GRID_SPACING_PX,
    progress: Progress | None = None,
    each: Callable[[Position, Values], None] | None = None,
) -> Statistics:
    """Return the statistics of a channel over several positions and all their times, as for a training set.

    Parameters
    ----------
    each : callable
        Is told of every position that is not empty or constant, with its own sample (N,).

    Raises
    ------
    NormalizationError
        When the channel is empty or constant everywhere.
    """
    report = progress or Progress()
    whole, constants = PixelSample(), set[float]()
    for position in positions:
        own = PixelSample()
        for t in range(position.shape[0]):
            for frame in frames(position, channel, t):
                report.check()
                _take(frame, spacing_px, constants, whole, own)
        if each and own.moments.count:
            each(position, own.values)
    return _statistics_of_sample(whole, constants, channel)


def read_statistics(node: Dataset | Position, channel: str, level: Level, t: int = 0) -> Statistics | None:
    """Return the stored statistics of a channel, or None; files of any version of VisCy are understood.

    Those of a time point are over all positions, as VisCy has them; `statistics_of` has a position's own.
    """
    entry = _mapping(_mapping(node.attribute(NORMALIZATION)).get(channel))
    stored = _mapping(entry.get(f"{level}_statistics"))
    if level == "timepoint":
        stored = _mapping(stored.get(str(t)))
    return _parsed(stored)


def statistics_of(position: Position, channel: str, level: Level, t: int = 0) -> Statistics:
    """Return the stored statistics of a channel, else compute them from the whole image and keep them.

    Those of level ``timepoint`` are of the position's own image at time `t`. Those that were taken before the image was
    replaced are computed anew, and kept while the position is open, and in the workspace if it was opened with one.

    Raises
    ------
    ChannelError
        When the channel is missing, or statistics of the whole dataset were never computed.
    NormalizationError
        When the channel is empty or constant; the rule, followed by "in <channel>", says so of the position.
    """
    position.channel_index(channel)
    if level == "timepoint" and position.shape[0] == 1:
        level = "fov"  # the same image
    stored = _own(position, channel, t) if level == "timepoint" else read_statistics(position, channel, level)
    if stored is not None and (level == "dataset" or not _are_stale(position, channel)):
        return stored
    if level == "dataset":
        rule = f"has no {level} statistics at position {position.key}"
        raise ChannelError("channel", channel, rule, "run `vstain preprocess` on the dataset")
    key = (NORMALIZATION, channel, level, t if level == "timepoint" else None)
    if key not in position.notes:
        position.notes[key] = _compute_for(position, channel, level, t)
        _keep(position, channel, level, t, position.notes[key])
    return position.notes[key]  # type: ignore[no-any-return]


def to_attribute(statistics: Statistics) -> dict[str, float]:
    """Return statistics as they are stored: no key without a number."""
    return statistics.model_dump(exclude_none=True)


def _compute_for(position: Position, channel: str, level: Level, t: int) -> Statistics:
    times = range(position.shape[0]) if level == "fov" else (t,)
    pixels = (frame for time in times for frame in frames(position, channel, time))
    return _statistics_of_frames(pixels, channel, GRID_SPACING_PX)


def note_source(position: Position, channels: Iterable[str]) -> None:
    """Store which pixels the statistics of some channels of a position were taken from.

    Raises
    ------
    StorageError
        When neither the dataset nor the workspace can be written.
    """
    seen = {channel: as_record(identify(position, [channel])) for channel in channels}
    change_record(position, SEEN, lambda known: {**_mapping(known), **seen})


def _are_stale(position: Position, channel: str) -> bool:
    """Return True if a position has other pixels than its stored statistics were taken from, by mark and sizes.

    Times do not tell: a copy has others. What does not say its source is taken to be of these pixels.
    """
    seen = Identity.parse(_mapping(recorded(position, SEEN)).get(channel))
    if seen is None:
        return False
    now = identify(position, [channel])
    return (seen.token, seen.layout) != (now.token, now.layout)


def _forget(position: Position, channel: str) -> None:
    """Delete a position's own statistics of a channel: those of other pixels are not mixed with those of these."""

    def without(known: Any) -> dict[str, Any]:
        kept = {key: value for key, value in _mapping(_mapping(known).get(channel)).items() if key != "fov_statistics"}
        return {**_mapping(known), channel: kept}

    position.change_attribute(NORMALIZATION, without)
    change_record(position, OWN, lambda known: {**_mapping(known), channel: {}})


def keep_own(position: Position, channel: str, by_time: Mapping[int, Statistics]) -> None:
    """Store a position's own statistics at each time, under our own key: VisCy's has those of all positions at it.

    Raises
    ------
    StorageError
        When neither the dataset nor the workspace can be written.
    """
    entries = {str(t): to_attribute(statistics) for t, statistics in by_time.items()}

    def added(known: Any) -> dict[str, Any]:
        return {**_mapping(known), channel: {**_mapping(_mapping(known).get(channel)), **entries}}

    change_record(position, OWN, added)


def _own(position: Position, channel: str, t: int) -> Statistics | None:
    return _parsed(_mapping(_mapping(_mapping(recorded(position, OWN)).get(channel)).get(str(t))))


def _keep(position: Position, channel: str, level: Level, t: int, statistics: Statistics) -> None:
    if position.attributes.workspace is None:
        return
    try:
        if _are_stale(position, channel):
            _forget(position, channel)
        note_source(position, [channel])
        if level == "timepoint":
            keep_own(position, channel, {t: statistics})
            return
        entry = {f"{level}_statistics": to_attribute(statistics)}
        position.change_attribute(
            NORMALIZATION,
            lambda whole: {**_mapping(whole), channel: {**_mapping(_mapping(whole).get(channel)), **entry}},
        )
    except StorageError as error:
        _log.warning("statistics of %s are not kept: %s", position.key, error)


def _statistics_of_frames(pixels: Iterable[Image], what: str, spacing_px: int) -> Statistics:
    sample, constants = PixelSample(), set[float]()
    for frame in pixels:
        _take(frame, spacing_px, constants, sample)
    return _statistics_of_sample(sample, constants, what)


def _take(frame: Image, spacing_px: int, constants: set[float], *samples: PixelSample) -> None:
    """Add a frame's values to samples, or its one value to the constants."""
    found = sample_frame(frame, spacing_px)
    if found.constant is not None:
        constants.add(found.constant)
    if found.usable:
        moments = SampleMoments.of(found.values)
        for sample in samples:
            sample.add(found.values, moments)


def _statistics_of_sample(sample: PixelSample, constants: set[float], what: str) -> Statistics:
    if not sample.moments.count:
        raise NormalizationError("channel", what, _emptiness(constants), "choose another channel or image")
    return compute_statistics(sample)


def _emptiness(constants: set[float]) -> str:
    """Return what an image is of which no frame has two different finite pixels, but these constants."""
    if not constants:
        return "has no finite pixel"
    if len(constants) > 1:
        return "is constant in every slice"
    (value,) = constants
    return f"is constant ({value:g})" if value else "is empty"


def _otsu(values: Any) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))


def _parsed(stored: Mapping[str, Any]) -> Statistics | None:
    known = {key: float(value) for key, value in stored.items() if key in Statistics.model_fields and _finite(value)}
    return Statistics(**known) if {"mean", "std", "median", "iqr"} <= set(known) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))
