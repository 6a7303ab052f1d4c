"""The LightningModule: it wires network, loss, optimizer, schedule and metrics, and signs its checkpoints."""

from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from napari_vstain.core.models.files.checkpoint import attach_spec
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.training.correlation import Correlation
from napari_vstain.core.training.objective import loss_of
from napari_vstain.core.training.patch_loader import Batch
from napari_vstain.core.training.results import TRAIN_LOSS, VALIDATION_LOSS
from napari_vstain.core.training.schedules import WarmupCosine

_LOSS = "loss/train"
"""Logged by batch and by epoch, which Lightning tells apart as `BATCH_LOSS` and `TRAIN_LOSS`."""


class StainingModule(LightningModule):
    """A network that learns targets from sources.

    Pixels that are not a number in a source or a target are left out of the loss and the metrics.

    Parameters
    ----------
    network : nn.Module
        Takes and returns (B, C, Y, X) or (B, C, Z, Y, X).
    loss : nn.Module
        Of (prediction, target), both normalized; mean squared error when not given.
    optimizer : callable
        From the parameters; AdamW when not given.
    schedule : callable
        From the optimizer; `WarmupCosine` when not given.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module | None = None,
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] = WarmupCosine,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss or nn.MSELoss()
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.correlation = Correlation()
        self.spec: ModelSpec | None = None

    def forward(self, source: Tensor) -> Tensor:
        """Return the prediction of normalized sources."""
        return self.network(source)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self._loss(*self._predicted(batch))
        self.log(_LOSS, loss, on_step=True, on_epoch=True, batch_size=len(batch["source"]))
        return loss

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Log the loss of a batch and take in its correlation."""
        prediction, target, valid = self._predicted(batch)
        self.correlation.add(prediction, target, valid)
        self.log(VALIDATION_LOSS, self._loss(prediction, target, valid), batch_size=len(target))

    def on_validation_epoch_start(self) -> None:
        """Forget the correlation of the last epoch."""
        self.correlation = Correlation()

    def on_validation_epoch_end(self) -> None:
        """Log Pearson's correlation of each target over all validation patches."""
        names = self.spec.targets if self.spec else ()
        for index, value in enumerate(self.correlation.values()):
            self.log(f"pearson/{names[index] if index < len(names) else index}", value)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule, stepped by batch if it counts its steps, else by epoch."""
        optimizer = self.make_optimizer(self.parameters())
        schedule = self.make_schedule(optimizer)
        if isinstance(schedule, WarmupCosine) and schedule.total_steps is None:
            schedule.total_steps = int(self.trainer.estimated_stepping_batches)
        interval = "step" if hasattr(schedule, "total_steps") else "epoch"
        watched = VALIDATION_LOSS if self.trainer.enable_validation else TRAIN_LOSS
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": interval, "monitor": watched},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put into the checkpoint all that the model says of itself."""
        if self.spec is not None:
            attach_spec(checkpoint, self.spec.model_copy(update={"training": {**self.spec.training, **self._state()}}))

    def _state(self) -> dict[str, Any]:
        """Return how far the training has come, for the checkpoint."""
        metrics = {
            name: float(value) for name, value in self.trainer.callback_metrics.items() if not name.endswith("_step")
        }
        return {"epochs": self.trainer.current_epoch + 1, "steps": self.trainer.global_step, "metrics": metrics}

    def _predicted(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return prediction, target and what of them is valid, without the patches' margin."""
        prediction, target, valid = self(batch["source"]), batch["target"], batch.get("valid")
        margin = self._margin()
        if margin:
            inner = (..., slice(margin, -margin), slice(margin, -margin))
            prediction, target = prediction[inner], target[inner]
            valid = None if valid is None else valid[inner]
        return prediction, target, valid

    def _margin(self) -> int:
        data = getattr(self.trainer, "datamodule", None)
        return int(getattr(getattr(data, "patches", None), "margin_px", 0))

    def _loss(self, prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        return loss_of(self.loss, prediction, target, valid)
