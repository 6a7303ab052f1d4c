"""What a training hands out while it runs and when it ends."""

from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.experiments import Run
from napari_vstain.core.left_out import LeftOut, outcome
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.models.split import Split


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one batch."""

    step: int
    """Batches learned from, this one included."""
    loss: float
    epoch: float | None = None
    """Epochs learned, this batch included; None where it is not known how many batches make an epoch."""


@dataclass(frozen=True)
class EpochLosses:
    """The losses of one epoch."""

    epoch: int
    """Counted from 0."""
    step: int
    train_loss: float
    validation_loss: float | None
    """None when no position is kept for validation."""
    lr: float
    """Learning rate at the end of the epoch."""


@dataclass(frozen=True)
class TrainResult:
    """What a training made; after a stop, what it had made by then."""

    run: Run
    checkpoint: Path
    """The one to predict with: of the lowest validation loss, else the last."""
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
        return *self.notes, f"Careful: {outcome('Used', set(Split.of(self.spec).parts), self.left_out)}"
