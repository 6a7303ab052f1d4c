"""What a training hands out while it runs and when it ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.experiments import Run
from napari_vstain.core.left_out import LeftOut, outcome
from napari_vstain.core.models.spec import ModelSpec

BATCH_LOSS, TRAIN_LOSS, VALIDATION_LOSS = "loss/train_step", "loss/train_epoch", "loss/validate"
"""What a loss is called in events, logs and TensorBoard: of one batch, and the means of an epoch."""
BY_BATCH = "_step"
"""What the name of a scalar ends with that is said after every batch; Lightning appends it."""


@dataclass(frozen=True)
class Scalars:
    """Named numbers that a training says: after each batch those of the batch, after each epoch those of the epoch.

    What stands before the first ``/`` of a name says which are of one kind, and can be drawn together.
    """

    step: int
    """Batches learned from so far."""
    epoch: float | None
    """Epochs learned so far, a part of one after a batch; None where it is not known how many batches make one."""
    values: Mapping[str, float]
    """NaN where one could not be computed."""

    @property
    def of_batch(self) -> bool:
        """Whether these are of one batch, and not of a whole epoch."""
        return any(name.endswith(BY_BATCH) for name in self.values)


@dataclass(frozen=True)
class TrainResult:
    """What a training made; after a stop, what it had made by then."""

    run: Run
    checkpoint: Path
    """The one to predict with: of the epoch that the monitored scalar chose, else the last."""
    spec: ModelSpec
    epochs: int
    """Epochs that were finished."""
    best_loss: float
    """Lowest validation loss, or training loss without validation; NaN when no epoch was finished."""
    stopped: bool
    left_out: tuple[LeftOut, ...] = ()
    """Positions of the split that could not be used."""
    notes: tuple[str, ...] = ()
    """One sentence for each thing to know of the images: how targets are normalized, which times are left out."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """One sentence for each thing that whoever uses the model should know: the notes, and what was left out."""
        if not self.left_out:
            return self.notes
        return *self.notes, f"Careful: {outcome('Used', set(self.spec.training.positions.parts), self.left_out)}"
