"""What all ways of training have in common: a generator that is kept, optimizers by name, losses by task."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from napari_vstain.core.models.files.checkpoint import attach_spec
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.training.correlation import Correlation
from napari_vstain.core.training.objective import Losses, cropped
from napari_vstain.core.training.results import VALIDATION_LOSS
from napari_vstain.core.training.tasks import Task
from napari_vstain.core.training.tensors import Batch

_TRAIN = "loss/train"
"""Logged by batch and by epoch, which Lightning tells apart as `BATCH_LOSS` and `TRAIN_LOSS`."""


class Family(LightningModule):
    """A way of training: regression, or one with networks that only help to train.

    A subclass holds the generator as ``network``, which is where a checkpoint's reader looks for its weights, and
    says its losses and its optimizers. What is logged, judged and written is the same for all.

    Parameters
    ----------
    tasks : sequence of Task
        Empty when the training file names none: then there is one, `stain`, of all targets.
    """

    network: nn.Module

    def __init__(self, tasks: tuple[Task, ...] = ()) -> None:
        super().__init__()
        self.tasks = tasks
        self.spec: ModelSpec | None = None
        self._correlations: dict[str, Correlation] = {}

    @property
    def generator(self) -> nn.Module:
        """What is probed, saved and exported."""
        return self.network

    def losses(self, batch: Batch) -> Iterator[tuple[str, Losses]]:
        """Yield the name of each optimizer with what it minimizes, in the order in which they step."""
        raise NotImplementedError

    def check_optimizers(self) -> None:
        """Make every optimizer and schedule once, before anything is written; raises what they raise."""

    def forward(self, source: Tensor) -> Any:
        """Return the prediction of normalized sources: a tensor, or one by task."""
        return self.generator(source)

    def made(self, source: Tensor) -> Mapping[str, Tensor]:
        """Return the predictions of normalized sources by task."""
        made = self(source)
        return {self.task_names[0]: made} if isinstance(made, Tensor) else made

    @property
    def task_names(self) -> tuple[str, ...]:
        """Of the outputs, in their order."""
        raise NotImplementedError

    def training_step(self, batch: Batch, _index: int) -> dict[str, Tensor]:
        """Learn from a batch; return its loss, and each task's where there are several, as they are called in a log."""
        said: dict[str, Tensor] = {}
        for _, losses in self.losses(batch):
            said |= self._said(losses)
        for name, value in said.items():
            self.log(_TRAIN + name, value, on_step=True, on_epoch=True, batch_size=len(batch.source))
        by_task = {f"{_TRAIN}{name}_step": value.detach() for name, value in said.items() if name}
        return {"loss": said[""], **by_task}

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Log the losses of a batch and take in its correlations."""
        made = self.made(batch.source)
        for name, value in self._said(self.judged(made, batch)).items():
            self.log(VALIDATION_LOSS + name, value, batch_size=len(batch.source))
        for task in self.task_names:
            target = batch.targets[task]
            known = self._correlations.setdefault(task, Correlation())
            weight = batch.weights.get(task)
            known.add(cropped(made[task], target), target, None if weight is None else weight > 0)

    def judged(self, made: Mapping[str, Tensor], batch: Batch) -> Losses:
        """Return the losses that validation chooses the epoch by."""
        raise NotImplementedError

    def on_validation_epoch_start(self) -> None:
        """Forget the correlations of the last epoch."""
        self._correlations = {}

    def on_validation_epoch_end(self) -> None:
        """Log Pearson's correlation of each intensity over all validation patches."""
        heads = {head.task: head for head in self.spec.outputs} if self.spec else {}
        several = len(self.task_names) > 1
        for task, correlation in self._correlations.items():
            if task in heads and heads[task].kind != "fluorescence":
                continue
            names = heads[task].channels if task in heads else ()
            for index, value in enumerate(correlation.values()):
                name = names[index] if index < len(names) else str(index)
                self.log(f"pearson/{task}/{name}" if several else f"pearson/{name}", value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put into the checkpoint all that the model says of itself."""
        if self.spec is not None:
            training = self.spec.training.model_copy(update=self._state())
            attach_spec(checkpoint, self.spec.model_copy(update={"training": training}))

    def _state(self) -> dict[str, Any]:
        """Return how far the training has come, for the checkpoint."""
        metrics = {
            name: float(value) for name, value in self.trainer.callback_metrics.items() if not name.endswith("_step")
        }
        return {"epochs": self.trainer.current_epoch + 1, "steps": self.trainer.global_step, "metrics": metrics}

    def _said(self, losses: Losses) -> dict[str, Tensor]:
        """Return each loss by what follows its part in its name: the total, and the tasks' if there are several."""
        by_task = losses.by_task if len(losses.by_task) > 1 else {}
        return {"": losses.total} | {f"/{task}": value for task, value in by_task.items()}
