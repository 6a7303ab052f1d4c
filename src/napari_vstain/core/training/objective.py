"""The objective: the only place that knows weights, margins and what is not known; the total is over all tasks."""

from collections.abc import Mapping
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_vstain.core.training.tensors import Batch


class Losses(NamedTuple):
    """What an objective gives for a batch."""

    total: Tensor
    """What is minimized: the sum over tasks, weighted."""
    by_task: dict[str, Tensor]
    """Each task's own, not weighted."""


class Objective(nn.Module):
    """Losses and weights of the tasks that are learned together.

    Parameters
    ----------
    losses : mapping of task to module
        Of (prediction, target). The order is that of the sum.
    weights : mapping of task to number
        How much each counts; 1 when not given.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.tasks = tuple(losses)
        self.losses = nn.ModuleList(losses.values())  # by number: a task may be called as a module's attribute is
        self.weights = {task: (weights or {}).get(task, 1.0) for task in losses}

    def forward(self, made: Mapping[str, Tensor], batch: Batch) -> Losses:
        """Return the losses of what was made of a batch.

        Parameters
        ----------
        made : mapping of task to (B, C, [Z,] Y, X)
            May be larger than the targets in Y and X: that border was context.
        """
        by_task = {
            task: loss_of(loss, cropped(made[task], batch.targets[task]), batch.targets[task], batch.weights.get(task))
            for task, loss in zip(self.tasks, self.losses, strict=True)
        }
        weighted = [value if (w := self.weights[task]) == 1 else w * value for task, value in by_task.items()]
        return Losses(sum(weighted[1:], weighted[0]), by_task)


def cropped(made: Tensor, target: Tensor) -> Tensor:
    """Return the middle of a prediction, as large in Y and X as its target."""
    y, x = ((a - b) // 2 for a, b in zip(made.shape[-2:], target.shape[-2:], strict=True))
    return made[..., y : y + target.shape[-2], x : x + target.shape[-1]] if y or x else made


def loss_of(loss: nn.Module, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Return the loss over the pixels that count alone, as if there were no others; a map becomes its mean.

    A loss of PyTorch is asked for its map, which is right for all of them, and weighted. Another one sees the
    prediction in place of what is not known, where it has nothing to say, and each other pixel counts alike; a mean
    is then taken over as many pixels as are known.

    Parameters
    ----------
    prediction, target : (B, C, …)
    weight : bool or float, shaped as the target, optional
        How much each pixel counts, 0 where nothing is known; all alike by default.
    """
    if weight is None:
        value: Tensor = loss(prediction, target)
        return value.mean() if value.ndim else value
    valid = weight > 0
    filled = torch.where(valid, target, prediction.detach())
    if type(loss).__module__ == nn.MSELoss.__module__ and hasattr(loss, "reduction"):
        pixelwise = copy(loss)
        pixelwise.reduction = "none"
        values = pixelwise(prediction, filled)
        if values.shape == valid.shape:
            total = torch.where(valid, values * weight, torch.zeros_like(values)).sum()
            if loss.reduction == "sum":
                return total
            counted = weight.sum()
            return total / torch.where(counted > 0, counted, torch.ones_like(counted))
    value = loss(prediction, filled)
    value = value.mean() if value.ndim else value
    return value / valid.float().mean().clamp(min=1 / valid.numel()) if _is_mean(loss, prediction, filled) else value


def _is_mean(loss: nn.Module, prediction: Tensor, target: Tensor) -> bool:
    """Return False for a loss that doubles with its pixels; one that does not say is tried on twice as many."""
    said = getattr(loss, "reduction", None)
    if isinstance(said, str):
        return said != "sum"
    with torch.no_grad():
        once, twice = (loss(torch.cat([prediction] * n), torch.cat([target] * n)).mean() for n in (1, 2))
    return bool(twice < 1.5 * once) or not bool(once)
