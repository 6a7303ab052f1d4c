"""Preprocessing reads every frame once and stores normalization statistics of the dataset and of each position."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_vstain.core.data import Dataset, Position, open_dataset, record
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.models import Statistics
from napari_vstain.core.preprocessing.sampling import GRID_SPACING_PX, Sample, frames, sample_frame
from napari_vstain.core.preprocessing.statistics import NORMALIZATION, compute_statistics, to_attribute
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
    )
    otsu: bool = Field(
        True, title="Otsu threshold", description="Also find the threshold between dark and bright of each position."
    )


@dataclass(frozen=True)
class PreprocessResult:
    """What was stored."""

    dataset: Path
    config: Path
    positions: tuple[str, ...]
    statistics: Mapping[str, Statistics]
    """Of the whole dataset, by channel."""
    left_out: tuple[str, ...]
    """One sentence for each position and channel with frames or pixels that no statistic saw."""


@dataclass
class _Channel:
    """One channel's samples while the positions are read."""

    name: str
    whole: Sample = field(default_factory=Sample)
    times: dict[int, Sample] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Attributes by position: its statistics so far."""
    left_out: list[str] = field(default_factory=list)


def run(settings: PreprocessSettings, workspace: Workspace, progress: Progress) -> PreprocessResult:
    """Compute the statistics of every channel, then store them with the dataset or in its sidecar.

    Nothing is written before all is computed. The settings are saved as ``preprocess_config.yml`` in the
    dataset's sidecar folder, ``datasets/<name>.sidecar``.

    Raises
    ------
    ChannelError
        When a position lacks a channel.
    DatasetError
        When a channel is empty or constant everywhere, or pixels cannot be read.
    StorageError
        When neither the dataset nor the workspace can be written.
    """
    dataset = open_dataset(workspace.find_dataset(settings.dataset), workspace)
    names = settings.channels or dataset.channels
    for position in dataset.positions.values():
        for name in names:
            position.channel_index(name)
    progress.phase("Computing statistics", len(dataset.positions) * len(names), "images")
    channels = [_Channel(name) for name in names]
    for position in dataset.positions.values():
        for channel in channels:
            _measure(channel, position, settings, progress)
    statistics = {channel.name: _whole_statistics(channel) for channel in channels}
    left_out = tuple(sentence for channel in channels for sentence in channel.left_out)
    progress.phase("Storing statistics", len(dataset.positions), "positions")
    _store(dataset, channels, statistics, progress)
    record(dataset, preprocess={"settings": settings.model_dump(mode="json"), "left_out": list(left_out)})
    config = config_path(workspace.sidecar(dataset.path), "preprocess")
    settings.save(config)
    return PreprocessResult(dataset.path, config, tuple(dataset.positions), statistics, left_out)


def _measure(channel: _Channel, position: Position, settings: PreprocessSettings, progress: Progress) -> None:
    entry: dict[str, Any] = {"timepoint_statistics": {}}
    field_sample, unusable, not_finite = Sample(), 0, 0
    for t in range(position.shape[0]):
        time_sample = Sample()
        for frame in frames(position, channel.name, t):
            progress.check()
            sample = sample_frame(frame, settings.grid_spacing_px)
            unusable += not sample.usable
            not_finite += sample.not_finite
            time_sample.add(sample.values)
        _add_time(channel, entry, t, time_sample)
        field_sample.add(time_sample.values)
    channel.whole.add(field_sample.values)
    if field_sample.values.size:
        entry["fov_statistics"] = to_attribute(compute_statistics(field_sample.values, otsu=settings.otsu))
    channel.entries[position.key] = entry
    sentence = _sentence(channel.name, position, unusable, not_finite)
    channel.left_out += [sentence] if sentence else []
    progress.advance(message=sentence)


def _add_time(channel: _Channel, entry: dict[str, Any], t: int, sample: Sample) -> None:
    if sample.values.size:
        entry["timepoint_statistics"][str(t)] = to_attribute(compute_statistics(sample.values))
        channel.times.setdefault(t, Sample(_TIMEPOINT_LIMIT)).add(sample.values)


def _sentence(channel: str, position: Position, unusable: int, not_finite: int) -> str:
    total = position.shape[0] * position.shape[2]
    parts = [
        f"{unusable} of {total} frames, which are empty or constant" if unusable else "",
        f"{not_finite} pixels, which are NaN or infinite" if not_finite else "",
    ]
    said = " and ".join(part for part in parts if part)
    return f"{channel} at {position.key}: left out {said}." if said else ""


def _whole_statistics(channel: _Channel) -> Statistics:
    if channel.whole.values.size:
        return compute_statistics(channel.whole.values)
    rule = "is empty or constant in every frame, so it cannot be normalized"
    raise DatasetError("channel", channel.name, rule, "check the files, or leave the channel out")


def _store(
    dataset: Dataset, channels: list[_Channel], statistics: Mapping[str, Statistics], progress: Progress
) -> None:
    shared = {channel.name: {"dataset_statistics": to_attribute(statistics[channel.name])} for channel in channels}
    for key, position in dataset.positions.items():
        own = {channel.name: {**shared[channel.name], **channel.entries[key]} for channel in channels}
        _merge(position, own)
        progress.advance()
    if dataset.path not in {position.folder for position in dataset.positions.values()}:
        # Last: where the whole has statistics, every position has them.
        _merge(dataset, {channel.name: {**shared[channel.name], **_over_time(channel)} for channel in channels})


def _over_time(channel: _Channel) -> dict[str, Any]:
    by_time = {str(t): to_attribute(compute_statistics(sample.values)) for t, sample in sorted(channel.times.items())}
    return {"timepoint_statistics": by_time}


def _merge(node: Dataset | Position, entries: Mapping[str, Any]) -> None:
    kept = node.attribute(NORMALIZATION)
    node.set_attribute(NORMALIZATION, {**(kept if isinstance(kept, Mapping) else {}), **entries})
