"""Lightning's Trainer as our settings ask for it: what it refuses is one sentence, said before anything is written."""

import re
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from napari_vstain.core.errors import SettingsError, VstainError
from napari_vstain.core.experiments import Run
from napari_vstain.core.training.data import PatchDataModule
from napari_vstain.core.training.parsing import Parts
from napari_vstain.core.training.reporting import AtomicCheckpointIO, Reporter
from napari_vstain.core.training.training_family import Family

_OUR_ARGUMENTS = ("callbacks", "logger", "plugins", "enable_progress_bar", "enable_model_summary", "default_root_dir")
_REFUSALS = (MisconfigurationException, ValueError, TypeError, RuntimeError, KeyError, AttributeError)
"""What Lightning, torch and classes named by their import path raise for a value that they do not take."""


def make_trainer(
    parts: Parts, data: PatchDataModule, run: Run, reporter: Reporter, mode: Literal["min", "max"] = "min"
) -> Trainer:
    """Return a Trainer that logs and saves in the folder of `run`, which need not exist yet.

    The best epoch is the one with the least of what the reporter monitors, or the most.

    Raises
    ------
    SettingsError
        For an argument that Lightning refuses, or more than one device.
    """
    given = {name: value for name, value in parts.trainer.items() if name not in _OUR_ARGUMENTS}
    given |= {"num_sanity_val_steps": 0} | ({} if data.validation else {"limit_val_batches": 0})
    if given.get("devices") == "auto":
        given["devices"] = 1
    best = _saver(run, run.best, reporter.monitor, mode)
    last = _saver(run, run.last, None)  # Lightning's save_last repeats the best
    place: dict[str, Any] = {"save_dir": run.experiment.models, "name": run.experiment.logs.name, "version": run.number}
    theirs = parts.trainer.get("logger")
    extra = [theirs] if theirs and not isinstance(theirs, (bool, list)) else theirs if isinstance(theirs, list) else []
    try:
        trainer = Trainer(
            **given,
            callbacks=[*_listed(parts.trainer.get("callbacks")), reporter, best, last],
            logger=[TensorBoardLogger(**place), CSVLogger(**place), *extra],
            plugins=[*_listed(parts.trainer.get("plugins")), AtomicCheckpointIO()],
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=run.folder,
        )
    except VstainError:
        raise
    except _REFUSALS as error:
        raise refused(parts, error) from error
    if trainer.world_size > 1:
        rule = "is more than one process, of which each would make a run of its own"
        raise SettingsError(
            "trainer.devices", trainer.world_size, rule, "choose 1, and `threads` for a processor's cores"
        )
    return trainer


class _Saver(ModelCheckpoint):
    """Goes on with the best score of a run whose folder was moved: what lies in it is known by its name.

    A run that begins with another one's checkpoint has no such file yet, and begins with no best score.
    """

    __qualname__ = "ModelCheckpoint"  # checkpoints know the state of a callback by the name of its class

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state, its paths in the folder of now."""
        here, there = str(self.dirpath), str(state_dict.get("dirpath", self.dirpath))
        if here != there and (Path(here) / Path(state_dict["best_model_path"]).name).is_file():
            state_dict = {**state_dict, "dirpath": here}
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state_dict[name] = _moved(state_dict.get(name), here)
            state_dict["best_k_models"] = {
                _moved(path, here): score for path, score in state_dict.get("best_k_models", {}).items()
            }
        super().load_state_dict(state_dict)


def _moved(path: str | None, folder: str) -> str:
    return str(Path(folder) / Path(path).name) if path else ""


def check_optimizer(model: Family) -> None:
    """Raise SettingsError when the optimizer or its schedule takes no such arguments."""
    try:
        model.check_optimizers()
    except VstainError:
        raise
    except _REFUSALS as error:
        rule = f"cannot be made: {_sentence(error)}"
        raise SettingsError("model.optimizer", None, rule, "correct it in the training file") from error


def refused(parts: Parts, error: Exception) -> SettingsError:
    """Return what Lightning says of a Trainer's argument as a sentence that names it."""
    said = str(error)
    named = [name for name in parts.trainer if re.search(rf"\b{name}\b", said)]
    field = f"trainer.{named[0]}" if named else "trainer"
    value = parts.trainer[named[0]] if named else None
    return SettingsError(field, value, f"is refused: {_sentence(error)}", "correct it in the training file")


def _sentence(error: Exception) -> str:
    first = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
    return (first[:1].lower() + first[1:])[:200] or type(error).__name__


def _saver(run: Run, path: Any, monitor: str | None, mode: Literal["min", "max"] = "min") -> ModelCheckpoint:
    """Return what saves the epoch with the least or most of `monitor`, or the newest one when nothing is monitored."""
    return _Saver(
        run.checkpoints,
        path.stem,
        monitor=monitor,
        mode=mode,
        enable_version_counter=False,
        save_on_exception=False,
        save_on_train_epoch_end=True,
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []
