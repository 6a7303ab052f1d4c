"""Preprocessing reads every frame once and stores normalization statistics of the dataset and of each position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_vstain.core.data import Dataset, Position, open_dataset, record
from napari_vstain.core.errors import ChannelError, DatasetError
from napari_vstain.core.left_out import LeftOut, check_left_out, leaving_out
from napari_vstain.core.models import Statistics
from napari_vstain.core.preprocessing.sampling import (
    GRID_SPACING_PX,
    FrameSample,
    PixelSample,
    SampleMoments,
    frames,
    sample_frame,
)
from napari_vstain.core.preprocessing.statistics import (
    NORMALIZATION,
    compute_statistics,
    keep_own,
    note_source,
    to_attribute,
)
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.stages import config_path
from napari_vstain.core.workspace import Workspace

_TIMEPOINT_LIMIT = 1 << 18
"""Values kept of one channel at one time over all positions: there are many of these at once."""


class PreprocessSettings(Settings):
    """What to compute, and of what."""

    dataset: str = Field(title="Dataset", description="Name of a dataset in the workspace, or path of an OME-Zarr.")
    channels: tuple[str, ...] = Field((), title="Channels", description="Channels to preprocess; all when empty.")
    grid_spacing_px: int = Field(
        GRID_SPACING_PX,
        ge=1,
        le=1024,
        title="Grid spacing",
        description="Intensities are sampled every so many pixels along Y and X.",
        json_schema_extra={"unit": "px", "level": "advanced"},
    )
    otsu: bool = Field(
        True,
        title="Otsu threshold",
        description="Also find the threshold between dark and bright of each position.",
        json_schema_extra={"level": "advanced"},
    )
    untouched: bool = Field(
        False,
        title="Keep untouched",
        description="Never write the dataset itself, now and later: statistics and notes on it are kept in the "
        "workspace, as they are of any dataset outside of it.",
        json_schema_extra={"level": "advanced"},
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse when a position cannot be used, in place of naming it and going on with the others.",
        json_schema_extra={"level": "advanced"},
    )


@dataclass(frozen=True)
class PreprocessResult:
    """What was stored."""

    dataset: Path
    config: Path
    positions: tuple[str, ...]
    """Those that have statistics of a channel."""
    statistics: Mapping[str, Statistics]
    """Of the whole dataset, by channel."""
    warnings: tuple[str, ...]
    """One sentence for each position and channel with some frames or pixels that no statistic saw."""
    left_out: tuple[LeftOut, ...] = ()
    """Positions that have no statistics of a channel, and why."""


@dataclass
class _Channel:
    """One channel's samples while the positions are read."""

    name: str
    whole: PixelSample = field(default_factory=PixelSample)
    times: dict[int, PixelSample] = field(default_factory=dict)
    """Of all positions, by time."""
    own: dict[str, dict[int, Statistics]] = field(default_factory=dict)
    """Of each position at each of its times."""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Attributes by position: its statistics over all times."""
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def run(settings: PreprocessSettings, workspace: Workspace, progress: Progress) -> PreprocessResult:
    """Compute the statistics of every channel, then store them with the dataset or in its sidecar.

    Nothing is written before all is computed. The settings are saved as ``preprocess_config.yml`` in the
    dataset's sidecar folder, ``datasets/<name>.sidecar``.

    Raises
    ------
    ChannelError
        When no position has a channel that is asked for.
    DatasetError
        When no position can be used; with `strict`, when one cannot.
    StorageError
        When neither the dataset nor the workspace can be written.
    """
    dataset = open_dataset(workspace.find_dataset(settings.dataset), workspace)
    names = _names(settings.channels, dataset)
    progress.phase("Computing statistics", len(dataset.positions) * len(names), "images")
    channels = [_Channel(name) for name in names]
    for position in dataset.positions.values():
        for channel in channels:
            with leaving_out(position.key, channel.left_out):
                _measure(channel, position, settings, progress)
            progress.advance()
    left_out = [*dataset.unusable.values(), *(one for channel in channels for one in channel.left_out)]
    measured = tuple(key for key in dataset.positions if any(key in channel.entries for channel in channels))
    found = [channel for channel in channels if channel.whole.moments.count]
    check_left_out(len(found), left_out, settings.strict)
    if settings.untouched:
        dataset.keep_untouched()
    statistics = {channel.name: compute_statistics(channel.whole) for channel in found}
    warnings = tuple(sentence for channel in channels for sentence in channel.warnings)
    progress.phase("Storing statistics", len(dataset.positions), "positions")
    _store(dataset, found, statistics, progress)
    notes = {"left_out": [*map(str, left_out), *warnings]}
    record(dataset, preprocess={"settings": settings.model_dump(mode="json"), **notes})
    config = config_path(workspace.sidecar(dataset.path), "preprocess")
    resolved = {"dataset": workspace.name_of(dataset.path), "channels": tuple(names)}
    settings.model_copy(update=resolved).save(config)
    return PreprocessResult(dataset.path, config, measured, statistics, warnings, tuple(left_out))


def _names(asked: Sequence[str], dataset: Dataset) -> Sequence[str]:
    """Return the channels to preprocess: those asked for, else all that any position has."""
    known = dict.fromkeys(name for position in dataset.positions.values() for name in position.channels)
    for name in asked:
        if name not in known:
            raise ChannelError("channel", name, f"no position of {dataset.name} has it", f"choose {', '.join(known)}")
    return asked or tuple(known)


def _measure(channel: _Channel, position: Position, settings: PreprocessSettings, progress: Progress) -> None:
    """Take in every frame of a position, for its own statistics and those it shares in: each pixel counts alike.

    Of a position that is damaged midway nothing is taken in.

    Raises
    ------
    DatasetError, ChannelError
        When there is nothing to measure, or it cannot be read.
    """
    missing, total = position.missing_chunks(channel.name)
    if missing == total:
        rule = f"has none of its {total} chunks of {channel.name} on disk"
        raise DatasetError("position", position.key, rule, "copy the dataset again, or leave the position out")
    if missing:
        said = f"{missing} of {total} chunks are not on disk and read as empty"
        channel.warnings.append(f"{channel.name} at {position.key}: {said}; unless they are, copy the dataset again.")
    seen: list[tuple[int, FrameSample]] = []
    for t in range(position.shape[0]):
        for frame in frames(position, channel.name, t):
            progress.check()
            seen.append((t, sample_frame(frame, settings.grid_spacing_px)))
    usable = [(t, one.values, SampleMoments.of(one.values)) for t, one in seen if one.usable]
    if not usable:
        raise DatasetError(
            "position", position.key, f"is empty or constant in {channel.name}", "check the files, or leave it out"
        )
    field_sample, own = PixelSample(), dict[int, PixelSample]()
    for t, values, moments in usable:
        at_time = channel.times.setdefault(t, PixelSample(_TIMEPOINT_LIMIT))
        for sample in (own.setdefault(t, PixelSample()), field_sample, at_time, channel.whole):
            sample.add(values, moments)
    if position.shape[0] > 1:  # of one time point they are the position's
        channel.own[position.key] = {t: compute_statistics(sample) for t, sample in own.items()}
    statistics = compute_statistics(field_sample, otsu=settings.otsu)
    channel.entries[position.key] = {"fov_statistics": to_attribute(statistics)}
    sentence = _sentence(channel.name, position, len(seen) - len(usable), sum(one.not_finite for _, one in seen))
    channel.warnings += [sentence] if sentence else []


def _sentence(channel: str, position: Position, unusable: int, not_finite: int) -> str:
    total = position.shape[0] * position.shape[2]
    parts = [
        f"{unusable} of {total} frames, which are empty or constant" if unusable else "",
        f"{not_finite} pixels, which are NaN or infinite" if not_finite else "",
    ]
    said = " and ".join(part for part in parts if part)
    return f"{channel} at {position.key}: left out {said}." if said else ""


def _store(
    dataset: Dataset, channels: list[_Channel], statistics: Mapping[str, Statistics], progress: Progress
) -> None:
    shared = {
        channel.name: {
            "dataset_statistics": to_attribute(statistics[channel.name]),
            "timepoint_statistics": {
                str(t): to_attribute(compute_statistics(sample)) for t, sample in sorted(channel.times.items())
            },
        }
        for channel in channels
    }
    for key, position in dataset.positions.items():
        own = {channel.name: {**shared[channel.name], **channel.entries.get(key, {})} for channel in channels}
        _merge(position, own)
        for channel in channels:
            if key in channel.own:
                keep_own(position, channel.name, channel.own[key])
        note_source(position, [channel.name for channel in channels if key in channel.entries])
        progress.advance()
    if dataset.path not in {position.folder for position in dataset.positions.values()}:
        # Last: where the whole has statistics, every position has them.
        _merge(dataset, shared)


def _merge(node: Dataset | Position, entries: Mapping[str, Any]) -> None:
    node.change_attribute(NORMALIZATION, lambda kept: {**(kept if isinstance(kept, Mapping) else {}), **entries})
