"""Regression, the first family: one network, one optimizer, and for each task a loss of (prediction, target)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from napari_vstain.core.models.networks import build_network
from napari_vstain.core.training.objective import Losses, Objective
from napari_vstain.core.training.results import TRAIN_LOSS, VALIDATION_LOSS
from napari_vstain.core.training.schedules import WarmupCosine
from napari_vstain.core.training.tasks import STAIN, parse_tasks
from napari_vstain.core.training.tensors import Batch
from napari_vstain.core.training.training_family import Family


class StainingModule(Family):
    """A network that learns targets from sources.

    Pixels that are not a number in a source or a target are left out of the losses and the metrics.

    Parameters
    ----------
    network : nn.Module
        Takes (B, C, Y, X) or (B, C, Z, Y, X); returns such a tensor, or a mapping of task to tensor.
    loss : nn.Module
        Of (prediction, target), both normalized, when there are no `tasks`; mean squared error when not given.
    optimizer : callable
        From the parameters; AdamW when not given.
    schedule : callable
        From the optimizer; `WarmupCosine` when not given.
    tasks : list of mapping
        What is learned, as `Task` says it, each with its own loss.

    Raises
    ------
    SettingsError
        When a task is not as it must be.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module | None = None,
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] = WarmupCosine,
        tasks: list[dict] | None = None,  # type: ignore[type-arg]  # of `Any`, jsonargparse would build the losses
    ) -> None:
        known = parse_tasks(tasks)
        super().__init__(known)
        self.network = network
        losses = {task.head.task: build_network(task.loss, trusted=True) for task in known}
        weights = {task.head.task: task.weight for task in known}
        self.objective = Objective(losses or {STAIN: loss or nn.MSELoss()}, weights)
        self.make_optimizer, self.make_schedule = optimizer, schedule

    @property
    def task_names(self) -> tuple[str, ...]:
        """Of the outputs, in their order."""
        return self.objective.tasks

    def losses(self, batch: Batch) -> Iterator[tuple[str, Losses]]:
        """Yield the one optimizer's."""
        yield "generator", self.objective(self.made(batch.source), batch)

    def judged(self, made: Mapping[str, Tensor], batch: Batch) -> Losses:
        """Return the same losses that are learned by."""
        judged: Losses = self.objective(made, batch)
        return judged

    def check_optimizers(self) -> None:
        """Make the optimizer and its schedule once."""
        self.make_schedule(self.make_optimizer(self.parameters()))

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

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up a loss's own numbers from where files of before the objective hold them."""
        state = checkpoint["state_dict"]
        for name in [name for name in state if name.startswith("loss.")]:
            state[name.replace("loss.", "objective.losses.0.", 1)] = state.pop(name)
