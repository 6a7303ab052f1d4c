"""Preprocessing reads every frame once and stores normalization statistics of the dataset and of each position."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_vstain.core.data import Dataset, Position, open_dataset, record
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.models import Statistics
from napari_vstain.core.preprocessing.sampling import GRID_SPACING_PX, Moments, Sample, frames, sample_frame
from napari_vstain.core.preprocessing.statistics import NORMALIZATION, compute_statistics, keep_own, to_attribute
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
    """Of all positions, by time."""
    own: dict[str, dict[int, Statistics]] = field(default_factory=dict)
    """Of each position at each of its times."""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Attributes by position: its statistics over all times."""
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
    """Take in every frame of a position, for its own statistics and those it shares in: each pixel counts alike."""
    field_sample, unusable, not_finite = Sample(), 0, 0
    own: dict[int, Sample] = {}
    for t in range(position.shape[0]):
        for frame in frames(position, channel.name, t):
            progress.check()
            found = sample_frame(frame, settings.grid_spacing_px)
            unusable += not found.usable
            not_finite += found.not_finite
            if found.usable:
                at_time = channel.times.setdefault(t, Sample(_TIMEPOINT_LIMIT))
                moments = Moments.of(found.values)
                for sample in (own.setdefault(t, Sample()), field_sample, at_time, channel.whole):
                    sample.add(found.values, moments)
        if t in own:
            channel.own.setdefault(position.key, {})[t] = compute_statistics(own.pop(t))
    if field_sample.moments.count:
        statistics = compute_statistics(field_sample, otsu=settings.otsu)
        channel.entries[position.key] = {"fov_statistics": to_attribute(statistics)}
    sentence = _sentence(channel.name, position, unusable, not_finite)
    channel.left_out += [sentence] if sentence else []
    progress.advance(message=sentence)


def _sentence(channel: str, position: Position, unusable: int, not_finite: int) -> str:
    total = position.shape[0] * position.shape[2]
    parts = [
        f"{unusable} of {total} frames, which are empty or constant" if unusable else "",
        f"{not_finite} pixels, which are NaN or infinite" if not_finite else "",
    ]
    said = " and ".join(part for part in parts if part)
    return f"{channel} at {position.key}: left out {said}." if said else ""


def _whole_statistics(channel: _Channel) -> Statistics:
    if channel.whole.moments.count:
        return compute_statistics(channel.whole)
    rule = "is empty or constant in every frame, so it cannot be normalized"
    raise DatasetError("channel", channel.name, rule, "check the files, or leave the channel out")


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
            if position.shape[0] > 1 and key in channel.own:
                keep_own(position, channel.name, channel.own[key])
        progress.advance()
    if dataset.path not in {position.folder for position in dataset.positions.values()}:
        # Last: where the whole has statistics, every position has them.
        _merge(dataset, shared)


def _merge(node: Dataset | Position, entries: Mapping[str, Any]) -> None:
    node.change_attribute(NORMALIZATION, lambda kept: {**(kept if isinstance(kept, Mapping) else {}), **entries})
