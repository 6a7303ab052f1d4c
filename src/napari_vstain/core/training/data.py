"""The data of a training: positions of a dataset, split, normalized and cut into patches."""

import os
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule

from napari_vstain.core.data import Dataset, Position, open_dataset
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.models.spec import Normalization, Statistics
from napari_vstain.core.models.split import Split
from napari_vstain.core.preprocessing import pooled_statistics, statistics_of
from napari_vstain.core.progress import Progress
from napari_vstain.core.training.loading import TrainingBatches, ValidationBatches
from napari_vstain.core.training.patch_settings import PatchSettings
from napari_vstain.core.training.patches import PatchReader, Scaling, make_stacks
from napari_vstain.core.training.splits import propose_split
from napari_vstain.core.workspace import Workspace

LEAST_BATCHES = 8
"""Of an epoch, when their number is not given."""


class PatchDataModule(LightningDataModule):
    """Random patches of sources and targets, straight from an OME-Zarr.

    Parameters
    ----------
    dataset : str
        Path of an OME-Zarr; in a workspace's settings also the name of a dataset.
    sources, targets : list of str
        Channels, in the network's order.
    train, validate, test : list of str
        Positions; when `train` is empty `propose_split` splits all.
    patches : PatchSettings
        How patches are cut.
    source_normalization, target_normalization : Normalization
        Targets are always normalized by the training positions' statistics.
    seed : int
        Of the patches drawn.
    """

    def __init__(
        self,
        dataset: str,
        sources: list[str],
        targets: list[str],
        train: list[str] | None = None,
        validate: list[str] | None = None,
        test: list[str] | None = None,
        patches: PatchSettings = PatchSettings(),  # noqa: B008 - frozen
        source_normalization: Normalization = Normalization(),  # noqa: B008
        target_normalization: Normalization = Normalization(),  # noqa: B008
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.path, self.sources, self.targets = dataset, tuple(sources), tuple(targets)
        self.asked = Split(tuple(train or ()), tuple(validate or ()), tuple(test or ()))
        self.patches, self.seed = patches, seed
        self.source_normalization = source_normalization
        self.target_normalization = target_normalization.model_copy(update={"level": "dataset"})
        self.workspace: Workspace | None = None
        self.report = Progress()
        self.statistics: dict[str, Statistics] = {}

    @property
    def channels(self) -> tuple[str, ...]:
        """Sources, then targets."""
        return (*self.sources, *self.targets)

    def setup(self, stage: str = "fit") -> None:
        """Open the dataset, measure its training positions and read what fits the memory; only once."""
        if self.statistics:
            return
        self.dataset = self._open()
        keys = tuple(self.dataset.positions)
        self.split = (self.asked if self.asked.train else propose_split(keys, self.seed)).checked(keys)
        self._check_channels()
        positions = [self.dataset.positions[key] for key in self.split.train]
        self.report.phase("Measuring intensities", len(self.channels), "channels")
        statistics = {channel: self._measure(positions, channel) for channel in self.channels}
        self.training = self._reader(self.split.train, statistics)
        self.validation = self._reader(self.split.validate, statistics) if self.split.validate else None
        self._fill_cache()
        self.statistics = statistics

    @property
    def spacing_um(self) -> tuple[float | None, float, float] | None:
        """Voxel size of the first training position, (Z, Y, X), if it is known."""
        return self.dataset.positions[self.split.train[0]].spacing_um

    @property
    def batches_per_epoch(self) -> int:
        """Batches of an epoch: as set, else as many as cover the training images once."""
        settings = self.patches
        area = (settings.size_px - 2 * settings.margin_px) ** 2 * settings.batch_size
        return settings.batches_per_epoch or max(ceil(self.training.pixels / area), LEAST_BATCHES)

    def train_dataloader(self) -> TrainingBatches:
        """Return the random batches of an epoch."""
        seed = self.seed + 1_000_003 * int(getattr(self.trainer, "global_rank", 0) or 0)
        return TrainingBatches(self.training, len(self.sources), self.batches_per_epoch, seed, self._epoch)

    def val_dataloader(self) -> ValidationBatches | list[Any]:
        """Return the fixed batches of the validation positions, or nothing."""
        return ValidationBatches(self.validation, len(self.sources)) if self.validation else []

    def _epoch(self) -> int:
        return int(self.trainer.current_epoch) if self.trainer else 0

    def _open(self) -> Dataset:
        path = Path(self.path).expanduser()
        if self.workspace is not None and not path.is_dir():
            path = self.workspace.dataset(self.path)
        return open_dataset(path, self.workspace)

    def _check_channels(self) -> None:
        for key in (*self.split.train, *self.split.validate, *self.split.test):
            for channel in self.channels:
                self.dataset.positions[key].channel_index(channel)

    def _measure(self, positions: list[Position], channel: str) -> Statistics:
        self.report.advance()
        statistics = pooled_statistics(positions, channel, progress=self.report)
        normalization = self.source_normalization if channel in self.sources else self.target_normalization
        _, divisor = normalization.offset_and_divisor(statistics)
        if divisor <= 2e-8:
            rule = f"has {normalization.divide} 0 over the training positions"
            raise DatasetError("channel", channel, rule, "normalize by `std`, or choose another channel")
        return statistics

    def _reader(self, keys: tuple[str, ...], statistics: dict[str, Statistics]) -> PatchReader:
        stacks = make_stacks(self.dataset.positions, keys, self._scaling(statistics))
        return PatchReader(stacks, self.channels, self.patches, len(self.targets))

    def _scaling(self, statistics: dict[str, Statistics]) -> Callable[[Position, int], Scaling]:
        level = self.source_normalization.level

        def scaling(position: Position, t: int) -> Scaling:
            pairs = []
            for channel in self.sources:
                own = statistics[channel] if level == "dataset" else statistics_of(position, channel, level, t)
                pairs.append(self.source_normalization.offset_and_divisor(own))
            pairs += [self.target_normalization.offset_and_divisor(statistics[channel]) for channel in self.targets]
            offset, divisor = np.array(pairs, np.float32).T[:, :, None, None, None]
            return offset, divisor

        return scaling

    def _fill_cache(self) -> None:
        readers = [reader for reader in (self.training, self.validation) if reader]
        self.report.phase("Reading images", sum(len(reader.stacks) for reader in readers), "images")
        budget = int(min(self.patches.cache_gb * 1e9, 0.4 * _memory_bytes()))
        for reader in reversed(readers):  # the validation positions are read in every epoch
            for stack in reader.stacks:
                budget = reader.cache(stack, budget)
                self.report.advance()


def _memory_bytes() -> float:
    """Return the machine's memory; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
