"""The data of a training: positions of a dataset, split, normalized and cut into patches."""

import os
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from napari_vstain.core.arrays import Array
from napari_vstain.core.data import Dataset, Position, open_dataset
from napari_vstain.core.errors import NormalizationError, SettingsError
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.left_out import LeftOut, check_left_out
from napari_vstain.core.models.spec import Normalization, Statistics
from napari_vstain.core.models.split import Split
from napari_vstain.core.preprocessing import pooled_statistics, unusable, usable_statistics
from napari_vstain.core.preprocessing.sampling import Values
from napari_vstain.core.progress import Progress
from napari_vstain.core.training.augmentation import Transform, transforms_of
from napari_vstain.core.training.patch_index import PatchIndex
from napari_vstain.core.training.patch_loader import TrainingBatches, ValidationBatches
from napari_vstain.core.training.patch_settings import PatchSettings
from napari_vstain.core.training.patches import PatchReader
from napari_vstain.core.training.random_places import RandomPlaces
from napari_vstain.core.training.selection import broken_positions, misfits, not_normalizable
from napari_vstain.core.training.splits import propose_split
from napari_vstain.core.training.stacks import Stack
from napari_vstain.core.training.targets import Brightness, TargetNormalization, brightness, choose, typical
from napari_vstain.core.training.tasks import one_task, parse_tasks
from napari_vstain.core.training.tensors import Batch, to_batch
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
        How patches are cut, how many make a batch, and how batches are made ahead.
    source_normalization : Normalization
    target_normalization : TargetNormalization
        Once the data is set up, its level is what was chosen.
    seed : int
        Of the patches drawn.
    tasks : list of mapping
        What is learned, as `Task` says it: one task, `stain`, of all targets, when not given. A training file names
        its tasks in its model, and they are put here too.
    sampler : callable
        Of the `PatchReader` of the training positions, once its images are in memory: the `PatchIndex` that draws
        where patches are cut; `RandomPlaces` when not given.
    transforms : list of Transform
        What is done to each patch, in order, in place of `flip`, `rotate`, `brightness` and `contrast` of `patches`.
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
        target_normalization: TargetNormalization = TargetNormalization(),  # noqa: B008
        seed: int = 0,
        tasks: list[dict] | None = None,  # type: ignore[type-arg]  # of `Any`, jsonargparse would build the losses
        sampler: Callable[[PatchReader], PatchIndex] = RandomPlaces,
        transforms: list[Transform] | None = None,
    ) -> None:
        super().__init__()
        self.path, self.sources, self.targets = dataset, tuple(sources), tuple(targets)
        self.tasks = parse_tasks(tasks) or one_task(targets)
        self.asked = Split(tuple(train or ()), tuple(validate or ()), tuple(test or ()))
        self.patches, self.seed = patches, seed
        self.sampler, self.transforms = sampler, transforms_of(patches, transforms)
        self.source_normalization = source_normalization
        self.target_normalization = target_normalization
        self.workspace: Workspace | None = None
        self.report = Progress()
        self.strict = False
        """Refuse a position that cannot be used, instead of leaving it out."""
        self.left_out: tuple[LeftOut, ...] = ()
        self.notes: tuple[str, ...] = ()
        """One sentence for each thing to know of the images: how targets are normalized, which times are left out."""
        self.statistics: dict[str, Statistics] = {}

    @property
    def channels(self) -> tuple[str, ...]:
        """Sources, then targets."""
        return (*self.sources, *self.targets)

    @property
    def intensities(self) -> tuple[str, ...]:
        """Targets that are normalized; others, such as masks, are learned as they are."""
        named = {channel for task in self.tasks if task.is_intensity for channel in task.head.channels}
        return tuple(target for target in self.targets if target in named)

    def setup(self, stage: str = "fit") -> None:
        """Open the dataset, measure its positions and read what fits the memory; only once.

        Raises
        ------
        DatasetError
            When no position can be learned from, or, if `strict`, one cannot be used.
        """
        if self.statistics:
            return
        self.dataset = self._open()
        self._check_tasks()
        self._check_fixed()
        self.split = self._usable()
        positions = [self.dataset.positions[key] for key in self.split.train]
        measured = (*self.sources, *self.intensities)
        self.report.phase("Measuring intensities", len(measured), "channels")
        found: dict[str, dict[str, Brightness]] = {target: {} for target in self.intensities}
        statistics = {channel: self._measure(positions, channel, found.get(channel)) for channel in measured}
        self.scale = choose(self.target_normalization, found)
        self.report.advance(0, self.scale.sentence)
        self.notes = (self.scale.sentence,)
        if self.target_normalization.level == "auto":
            level = self.scale.normalization.level
            self.target_normalization = self.target_normalization.model_copy(update={"level": level})
        self.training = self._reader(self.split.train, statistics)
        self.validation = self._reader(self.split.validate, statistics) if self.split.validate else None
        self._fill_cache()
        if self.scale.by_position:
            statistics |= {target: typical(self._own(positions, target)) for target in self.intensities}
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
        index, count = self.sampler(self.training), self.batches_per_epoch
        return TrainingBatches(self.training, index, self._to_batch, count, seed, self._epoch, self._learned)

    def val_dataloader(self) -> ValidationBatches | list[Any]:
        """Return the fixed batches of the validation positions, or nothing."""
        return ValidationBatches(self.validation, self._to_batch) if self.validation else []

    def _to_batch(self, patches: Array) -> Batch:
        return to_batch(patches, len(self.sources), self.targets, self.tasks, self.patches.margin_px)

    def _check_tasks(self) -> None:
        for task in self.tasks:
            unknown = [name for name in task.head.channels if name not in self.targets]
            if unknown or not task.head.channels:
                rule = f"learns {unknown[0]}, which is none of the targets" if unknown else "has no channels"
                raise SettingsError("task", task.head.task, rule, f"choose among {', '.join(self.targets)}")

    def _epoch(self) -> int:
        return int(self.trainer.current_epoch) if self.trainer else 0

    def _learned(self) -> int:
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.current.completed) if self.trainer else 0

    def _open(self) -> Dataset:
        path = Path(self.path).expanduser()
        if self.workspace is not None and not path.is_dir():
            path = self.workspace.dataset(self.path)
        return open_dataset(path, self.workspace)

    def _check_fixed(self) -> None:
        fixed = self.target_normalization.fixed
        missing = [target for target in self.intensities if target not in fixed]
        if fixed and missing:
            rule = "has no fixed offset and divisor"
            raise SettingsError("target", missing[0], rule, "add it to target_normalization.fixed")

    def _usable(self) -> Split:
        """Return the split without the positions that cannot be used; those of the test are judged when they are."""
        positions = self.dataset.positions
        broken = broken_positions(self.dataset, self.asked if self.asked.train else None)
        asked = self.asked.checked((*positions, *(one.position for one in broken))) if self.asked.train else None
        parts = (tuple(positions),) if asked is None else (asked.train, asked.validate, asked.test)
        named = tuple(dict.fromkeys(key for part in parts for key in part if key in positions))
        left_out = [*broken, *misfits(self.dataset, named, self.channels, self.patches)]
        unfit = {one.position for one in left_out}
        looked = named if asked is None else tuple(dict.fromkeys((*asked.train, *asked.validate)))
        looked = tuple(key for key in looked if key not in unfit)
        for key in looked[:1]:
            for channel in self.channels:
                positions[key].channel_index(channel)
        self.report.phase("Looking for empty positions", len(looked), "positions")
        left_out += not_normalizable(self.dataset, looked, self._normalizations(), self.report)
        self.left_out = tuple(left_out)
        unfit = {one.position for one in left_out}
        kept = tuple(key for key in named if key not in unfit)
        trained = kept if asked is None else tuple(key for key in asked.train if key not in unfit)
        check_left_out(len(trained), self.left_out, self.strict)
        if asked is None:
            return propose_split(kept, self.seed).checked(kept)
        return Split(*(tuple(key for key in part if key not in unfit) for part in parts))

    def _normalizations(self) -> list[tuple[str, Normalization]]:
        """Return each channel with the strictest way in which it may be normalized."""
        level = self.target_normalization.level
        targets = self.target_normalization.by("dataset" if level == "fixed" else "fov" if level == "auto" else level)
        sources = [(channel, self.source_normalization) for channel in self.sources]
        return [*sources, *((channel, targets) for channel in self.intensities)]

    def _measure(self, positions: list[Position], channel: str, found: dict[str, Brightness] | None) -> Statistics:
        """Return a channel's statistics over all training positions; of a target note how bright it is by position."""
        self.report.advance()

        def note(position: Position, values: Values) -> None:
            if found is not None:
                found[position.key] = brightness(values)

        statistics = pooled_statistics(positions, channel, progress=self.report, each=note)
        used = dict(self._normalizations())[channel].model_copy(update={"level": "dataset"})
        if problem := used.problem(statistics):
            rule = f"{problem} over the training positions"
            raise NormalizationError("channel", channel, rule, "normalize by `std`, or choose another channel")
        return statistics

    def _own(self, positions: list[Position], target: str) -> list[Statistics]:
        """Return the statistics that a target of every training position is normalized by."""
        used = self.scale.normalization
        return [
            usable_statistics(position, target, used, t)
            for position in positions
            for t in range(position.shape[0] if used.level == "timepoint" else 1)
            if not unusable(position, target, used, t)
        ]

    def _reader(self, keys: tuple[str, ...], statistics: dict[str, Statistics]) -> PatchReader:
        """Return what cuts patches of positions; a time point that cannot be normalized by itself is not among them."""
        scaling = self._scaling(statistics)
        stacks = []
        for key in keys:
            position = self.dataset.positions[key]
            for t in range(position.shape[0]):
                try:
                    stacks.append(Stack(position, t, scaling(position, t)))
                except NormalizationError as error:
                    self.notes += (f"Time {t} of {key} is left out: it {error.rule} in {error.value}.",)
        return PatchReader(stacks, self.channels, self.patches, len(self.targets), self.transforms)

    def _scaling(self, statistics: dict[str, Statistics]) -> Callable[[Position, int], Scaling]:
        def numbers(position: Position, t: int, channel: str, normalization: Normalization) -> Statistics:
            if normalization.level == "dataset":
                return statistics[channel]
            return usable_statistics(position, channel, normalization, t)

        def scaling(position: Position, t: int) -> Scaling:
            used = self.source_normalization
            pairs = [used.offset_and_divisor(numbers(position, t, channel, used)) for channel in self.sources]
            pairs += [
                self.scale.pair(channel, numbers(position, t, channel, self.scale.normalization))
                if channel in self.intensities
                else (0.0, 1.0)
                for channel in self.targets
            ]
            return Scaling.of(pairs)

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
