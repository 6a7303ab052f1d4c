"""What a training chose by itself is written into its settings, so that they give the same run again."""

from typing import Any

import torch

from napari_vstain.core.training.data import PatchDataModule
from napari_vstain.core.training.settings import TrainSettings


def with_seed(settings: TrainSettings) -> TrainSettings:
    """Return settings with a number for a seed that was left to chance."""
    if settings.seed_everything is not True:
        return settings
    return settings.model_copy(update={"seed_everything": torch.seed() % 2**31})


def resolved(settings: TrainSettings, data: PatchDataModule, threads: int) -> TrainSettings:
    """Return settings with positions, normalization of targets, length of an epoch and threads as they are used."""
    split, known = data.split, settings.data.get("init_args", {})
    patches = {**known.get("patches", {}), "batches_per_epoch": data.batches_per_epoch}
    chosen: dict[str, Any] = {
        "train": list(split.train),
        "validate": list(split.validate),
        "test": list(split.test),
        "patches": patches,
        "target_normalization": data.target_normalization.model_dump(mode="json"),
    }
    return settings.model_copy(update={"threads": threads, "data": {**settings.data, "init_args": {**known, **chosen}}})
