"""The only contact of a fit with whoever runs it: it reports, it stops within a batch, it writes whole files."""

from math import isfinite, nan
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.files import atomically
from napari_vstain.core.progress import Progress
from napari_vstain.core.training.module import TRAIN_LOSS, VALIDATION_LOSS
from napari_vstain.core.training.results import BatchLoss, EpochLosses


class Reporter(Callback):
    """Tells `progress` of every batch and epoch, and raises Cancelled when its token says so.

    On the way out of a fit that stops early, it saves ``last.ckpt``.
    """

    def __init__(self, progress: Progress, last: Path) -> None:
        self.progress, self.last = progress, last
        self.epochs = 0
        self.best_loss = nan

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the token."""
        self.progress.check()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many batches there are."""
        left = trainer.estimated_stepping_batches - trainer.global_step
        self.progress.phase("Training", left if isfinite(left) else None, "batches")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Check the token."""
        self.progress.check()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the loss of a batch."""
        loss = float(outputs["loss"])
        if not isfinite(loss):
            rule = f"became {loss} at step {trainer.global_step}"
            raise SettingsError("training loss", None, rule, "lower the learning rate, or look at the images")
        batches = float(trainer.num_training_batches)
        epoch = trainer.current_epoch + (batch_idx + 1) / batches if isfinite(batches) else None
        self.progress.produce(BatchLoss(trainer.global_step, loss, epoch))
        self.progress.advance(message=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, loss {loss:.3f}")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Check the token."""
        self.progress.check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the losses of an epoch; its validation is done by now."""
        metrics = trainer.callback_metrics
        train, validation = metrics.get(f"{TRAIN_LOSS}_epoch"), metrics.get(VALIDATION_LOSS)
        losses = EpochLosses(
            trainer.current_epoch,
            trainer.global_step,
            nan if train is None else float(train),
            None if validation is None else float(validation),
            float(trainer.optimizers[0].param_groups[0]["lr"]),
        )
        self.epochs = trainer.current_epoch + 1
        judged = losses.train_loss if losses.validation_loss is None else losses.validation_loss
        self.best_loss = judged if not judged >= self.best_loss else self.best_loss
        self.progress.produce(losses)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what was learned so far."""
        if trainer.global_step > 0 and trainer.is_global_zero:
            trainer.save_checkpoint(self.last)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and says in one sentence when the disk refuses."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises
        ------
        StorageError
            When the disk is full or read-only.
        """
        with atomically(Path(path)) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)
