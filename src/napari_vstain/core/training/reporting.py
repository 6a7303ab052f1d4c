"""The only contact of a fit with whoever runs it: it reports, it stops within a batch, it writes whole files."""

from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.experiments import Run
from napari_vstain.core.files import atomically
from napari_vstain.core.progress import Progress
from napari_vstain.core.run_status import RunState, StatusWriter, check_there
from napari_vstain.core.training.results import BATCH_LOSS, BY_BATCH, TRAIN_LOSS, VALIDATION_LOSS, Scalars


class Reporter(Callback):
    """Tells `progress` of every batch and epoch, and raises Cancelled when its token says so.

    On the way out of a fit that stops early, it saves ``last.ckpt``.

    Parameters
    ----------
    monitor : str
        The scalar that chooses the epoch to predict with: a training that logs none of that name is refused.
    """

    run: Run
    status: StatusWriter

    def __init__(self, progress: Progress, monitor: str) -> None:
        self.progress, self.monitor = progress, monitor
        self.batches = 0
        """Learned from in this process."""
        self.epochs = 0
        """Finished, those before the training was resumed included."""
        self.best_loss = nan
        self._random: Tensor | None = None

    def writes(self, run: Run, status: StatusWriter) -> None:
        """Say where it saves, and where it says how far it is."""
        self.run, self.status = run, status

    def ended(self, state: RunState, reason: str = "") -> None:
        """Write what became of the training."""
        self.status.say(state=state, epochs=self.epochs, best_loss=self.best_loss, reason=reason)

    def state_dict(self) -> dict[str, Any]:
        """Return what a training needs to go on as if it had not been interrupted."""
        return {
            "epochs": self.epochs,
            "best_loss": self.best_loss,
            "random": torch.get_rng_state(),
            "run": self.run.label,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned; the best loss only of the same run."""
        self.epochs, self._random = int(state_dict["epochs"]), state_dict["random"]
        if state_dict["run"] == self.run.label:
            self.best_loss = float(state_dict["best_loss"])

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the token."""
        self.progress.check()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many batches there are."""
        if self._random is not None:
            torch.set_rng_state(self._random)
        left = _batches_left(trainer)
        self.progress.phase("Training", left if isfinite(left) else None, "batches")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Check the token."""
        self.progress.check()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the scalars of a batch."""
        self.batches += 1
        check_there(self.run.folder)
        loss = float(outputs["loss"])
        if not isfinite(loss):
            rule = f"became {loss} at step {trainer.global_step}"
            raise SettingsError("training loss", None, rule, "lower the learning rate, or look at the images")
        batches = float(trainer.num_training_batches)
        epoch = trainer.current_epoch + (batch_idx + 1) / batches if isfinite(batches) else None
        self.progress.produce(Scalars(trainer.global_step, epoch, {BATCH_LOSS: loss, **_by_task(outputs)}))
        self.progress.advance(message=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, loss {loss:.3f}")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Check the token."""
        self.progress.check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the scalars of an epoch; its validation is done by now.

        Raises
        ------
        SettingsError
            When the scalar that is to choose the epoch is not among them, though the validation was.
        """
        values = _of_epoch(trainer)
        if self.monitor not in values and (VALIDATION_LOSS in values or not trainer.enable_validation):
            rule = "is nothing that this training says"
            raise SettingsError("monitor", self.monitor, rule, f"choose one of {', '.join(values)}")
        self.epochs = trainer.current_epoch + 1
        judged = values.get(VALIDATION_LOSS, values.get(TRAIN_LOSS, nan))
        self.best_loss = judged if not judged >= self.best_loss else self.best_loss
        self.progress.produce(Scalars(trainer.global_step, self.epochs, values))
        self.status.say(epochs=self.epochs, best_loss=self.best_loss)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what was learned so far."""
        check_there(self.run.folder)
        if self.batches and trainer.is_global_zero:
            trainer.save_checkpoint(self.run.last)


def _by_task(outputs: Any) -> dict[str, float]:
    """Return the losses of the tasks, as a family's training step names them, where there are several."""
    return {name: float(value) for name, value in outputs.items() if name.endswith(BY_BATCH)}


def _of_epoch(trainer: Trainer) -> dict[str, float]:
    """Return all that was logged of an epoch, and each optimizer's learning rate.

    Lightning knows what is logged by batch and by epoch under three names, of which the one of the epoch is kept.
    """
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    values = {
        name: value
        for name, value in logged.items()
        if not name.endswith("_step") and not (f"{name}_step" in logged or f"{name}_epoch" in logged)
    }
    several = len(trainer.optimizers) > 1
    for index, optimizer in enumerate(trainer.optimizers):
        values[f"lr/{index}" if several else "lr"] = float(optimizer.param_groups[0]["lr"])
    return values


def _batches_left(trainer: Trainer) -> float:
    """Return how many batches there are still to learn from; infinite when only time ends it."""
    loop = trainer.fit_loop
    by_steps = by_epochs = inf
    if trainer.max_steps >= 0:
        by_steps = (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        epochs = trainer.max_epochs - trainer.current_epoch
        by_epochs = trainer.num_training_batches * epochs - loop.epoch_loop.batch_progress.current.processed
    return max(min(by_steps, by_epochs), 0)


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
            torch.save(checkpoint, temporary)  # Lightning's own goes by a file in the folder for temporary files
