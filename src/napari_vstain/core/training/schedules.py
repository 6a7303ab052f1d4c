"""Learning-rate schedules that know how long a training is without being told."""

from math import cos, pi

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupCosine(LRScheduler):
    """Rises linearly from a tenth of the optimizer's rate, then falls along half a cosine; stepped after every batch.

    Parameters
    ----------
    optimizer : Optimizer
        Its rate is the highest one.
    warmup : float
        Share of the steps that the rise takes, 0 to 1, without 1.
    final : float
        Share of the highest rate that is left at the end.
    total_steps : int, optional
        Steps of the whole training; `StainingModule` fills in its own.
    """

    def __init__(
        self, optimizer: Optimizer, warmup: float = 0.1, final: float = 0.001, total_steps: int | None = None
    ) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be at least 0 and less than 1, not {warmup}")
        self.warmup, self.final, self.total_steps = warmup, final, total_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """Return the rate of each parameter group at this step."""
        factor = self.factor(self.last_epoch)
        return [float(rate) * factor for rate in self.base_lrs]

    def factor(self, step: int) -> float:
        """Return the share of the highest rate at a step, counted from 0."""
        total = max(self.total_steps or 0, 1)
        rise = max(self.warmup * total, 1)
        if step < rise:
            return 0.1 + 0.9 * step / rise
        fallen = min((step - rise) / max(total - rise, 1), 1)
        return self.final + (1 - self.final) * (1 + cos(pi * fallen)) / 2
