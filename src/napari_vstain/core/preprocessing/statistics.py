"""Normalization statistics: computed from samples, stored in VisCy's layout, read from whatever version wrote them."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from napari_vstain.core.data import Dataset, Position
from napari_vstain.core.errors import ChannelError, DatasetError, StorageError
from napari_vstain.core.models import Statistics
from napari_vstain.core.preprocessing.sampling import GRID_SPACING_PX, Frame, Sample, Values, frames, sample_frame
from napari_vstain.core.progress import Progress

Level = Literal["dataset", "fov", "timepoint"]
NORMALIZATION = "normalization"
"""The top-level attribute."""
_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_log = logging.getLogger(__name__)


def compute_statistics(values: Values, *, otsu: bool = False) -> Statistics:
    """Return the statistics of sampled intensities, in their own units.

    Parameters
    ----------
    values : (N,)
        Finite intensities, not all the same.
    otsu : bool
        Also find the threshold between dark and bright (Otsu 1979).
    """
    exact = values.astype(np.float64)
    p1, p5, p25, p50, p75, p95, p99 = map(float, np.percentile(exact, _PERCENTILES))
    return Statistics(
        mean=float(exact.mean()), std=float(exact.std()), median=p50, iqr=p75 - p25,
        min=float(exact.min()), max=float(exact.max()), p1=p1, p5=p5, p95=p95, p99=p99,
        p95_p5=p95 - p5, p99_p1=p99 - p1, otsu_threshold=_otsu(exact) if otsu else None,
    )  # fmt: skip


def image_statistics(array: Any, spacing_px: int = GRID_SPACING_PX) -> Statistics:
    """Return the statistics of one channel's image, numpy or lazy, (…, Y, X), read slice by slice.

    Raises
    ------
    DatasetError
        When no slice has two different finite pixels.
    """
    slices = (np.asarray(array[index]) for index in np.ndindex(*array.shape[:-2]))
    return _statistics_of_frames(slices, "image", spacing_px)


def pooled_statistics(
    positions: Iterable[Position],
    channel: str,
    spacing_px: int = GRID_SPACING_PX,
    progress: Progress | None = None,
) -> Statistics:
    """Return the statistics of a channel over several positions and all their times, as for a training set.

    Raises
    ------
    DatasetError
        When the channel is empty or constant everywhere.
    """
    report = progress or Progress()

    def every_frame() -> Iterable[Frame]:
        for position in positions:
            for t in range(position.shape[0]):
                report.check()
                yield from frames(position, channel, t)

    return _statistics_of_frames(every_frame(), channel, spacing_px)


def read_statistics(node: Dataset | Position, channel: str, level: Level, t: int = 0) -> Statistics | None:
    """Return the stored statistics of a channel, or None; files of any version of VisCy are understood."""
    entry = _mapping(_mapping(node.attribute(NORMALIZATION)).get(channel))
    stored = _mapping(entry.get(f"{level}_statistics"))
    if level == "timepoint":
        stored = _mapping(stored.get(str(t)))
    known = {key: float(value) for key, value in stored.items() if key in Statistics.model_fields and _finite(value)}
    return Statistics(**known) if {"mean", "std", "median", "iqr"} <= set(known) else None


def statistics_of(position: Position, channel: str, level: Level, t: int = 0) -> Statistics:
    """Return the stored statistics of a channel, else compute them from the whole image and keep them.

    They are kept while the position is open, and in the workspace if it was opened with one.

    Raises
    ------
    ChannelError
        When the channel is missing, or statistics of the whole dataset were never computed.
    DatasetError
        When the channel is empty or constant.
    """
    position.channel_index(channel)
    stored = read_statistics(position, channel, level, t)
    if stored is not None:
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


def _keep(position: Position, channel: str, level: Level, t: int, statistics: Statistics) -> None:
    if position.attributes.workspace is None:
        return
    whole = _mapping(position.attribute(NORMALIZATION))
    entry = _mapping(whole.get(channel))
    name, value = f"{level}_statistics", to_attribute(statistics)
    stored = value if level != "timepoint" else {**_mapping(entry.get(name)), str(t): value}
    try:
        position.set_attribute(NORMALIZATION, {**whole, channel: {**entry, name: stored}})
    except StorageError as error:
        _log.warning("statistics of %s are not kept: %s", position.key, error)


def _statistics_of_frames(pixels: Iterable[Frame], what: str, spacing_px: int) -> Statistics:
    sample = Sample()
    for frame in pixels:
        sample.add(sample_frame(frame, spacing_px).values)
    if not sample.values.size:
        rule = "is empty or constant everywhere, so there is nothing to normalize by"
        raise DatasetError("channel", what, rule, "choose another channel or image")
    return compute_statistics(sample.values)


def _otsu(values: Any) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))
