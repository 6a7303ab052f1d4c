"""A loss counts what is known and nothing else, however it sums its pixels up."""

from copy import copy

import torch
from torch import Tensor, nn


def loss_of(loss: nn.Module, prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    """Return the loss over the valid pixels alone, as it would be if there were no others; a map becomes its mean.

    A loss of PyTorch is asked for its map, which is right for all of them. Another one sees the prediction in place
    of what is not known, where it has nothing to say; a mean is then taken over as many pixels as are valid.

    Parameters
    ----------
    prediction, target : (B, C, …)
    valid : bool, shaped as the target, optional
        All pixels by default.
    """
    if valid is None:
        value: Tensor = loss(prediction, target)
        return value.mean() if value.ndim else value
    filled = torch.where(valid, target, prediction.detach())
    if type(loss).__module__ == nn.MSELoss.__module__ and hasattr(loss, "reduction"):
        pixelwise = copy(loss)
        pixelwise.reduction = "none"
        values = pixelwise(prediction, filled)
        if values.shape == valid.shape:
            total = torch.where(valid, values, torch.zeros_like(values)).sum()
            return total if loss.reduction == "sum" else total / valid.sum().clamp(min=1)
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
