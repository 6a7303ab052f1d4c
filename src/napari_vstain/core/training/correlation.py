"""Pearson's correlation of each channel over any number of batches, in bounded memory."""

import torch
from torch import Tensor


class Correlation:
    """Sums of prediction and target, taken in batch by batch.

    The field's `torchmetrics` class needs (N, channels) and warns for a constant image; here that is NaN.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def add(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> None:
        """Take in a batch, (B, C, …); what is not `valid` is left out."""
        p, t = (value.detach().double().transpose(0, 1).flatten(1) for value in (prediction, target))
        kept = torch.ones_like(p) if valid is None else valid.transpose(0, 1).flatten(1).to(p)
        p, t = p * kept, t * kept
        sums = torch.stack([values.sum(1) for values in (kept, p, t, p * p, t * t, p * t)])
        self._sums = sums if self._sums is None else self._sums + sums

    def values(self) -> list[float]:
        """Return the correlation of each channel; NaN where prediction or target is constant."""
        if self._sums is None:
            return []
        n, p, t, pp, tt, pt = self._sums
        covariance, variances = n * pt - p * t, (n * pp - p * p) * (n * tt - t * t)
        return [float(value) for value in covariance / variances.clamp(min=0).sqrt()]
