"""A training goes on from its last checkpoint in its own folder, as if it had never been interrupted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_vstain.core.errors import BusyError, ModelError, SettingsError, WorkspaceError
from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.core.files import remove_leftovers, writing
from napari_vstain.core.locks import locked
from napari_vstain.core.models.files.checkpoint import read_checkpoint
from napari_vstain.core.run_status import FILE, RunState, RunStatus, StatusWriter


def resumable(experiment: Experiment, name: str) -> Run:
    """Return the run of that name if a training can go on with it.

    Raises
    ------
    WorkspaceError
        When there is no such run, or it saved nothing to go on from.
    BusyError
        When it is being trained.
    """
    run = experiment.run(name)
    _refuse_running(run, run.status)
    if not run.last.is_file():
        raise WorkspaceError("run", run.label, "has no checkpoint to go on from", "train again")
    return run


def take_over(run: Run, status: RunStatus) -> StatusWriter:
    """Return what writes the status of a run that goes on; of two processes that try, one is refused."""
    with locked(run.folder / FILE):
        before = run.status
        _refuse_running(run, before)
        for folder in (run.folder, run.checkpoints):
            remove_leftovers(folder)
        writer = StatusWriter(run.folder, status)
        writer.say(**({"epochs": before.epochs, "best_loss": before.best_loss} if before else {}))
    _keep_metrics(run.folder / "metrics.csv")
    return writer


def how_to_go_on(run: Run) -> str:
    """Return what became of a run, and the command that goes on with it, in a sentence."""
    model = "" if run.trained else "; it has no model yet"
    return f"{run.label} {run.status}{model}. To go on: vstain train --resume {run.label}"


def check_epochs_left(checkpoint: str, trainer: Mapping[str, Any]) -> None:
    """Raise an error unless a training with these arguments of the Trainer learns more than `checkpoint` has.

    Raises
    ------
    ModelError
        When the file holds no training.
    SettingsError
        When all epochs or steps are done.
    """
    known = read_checkpoint(checkpoint, lazily=True)
    if "optimizer_states" not in known:
        raise ModelError("checkpoint", checkpoint, "cannot be resumed", "choose a checkpoint of an earlier run")
    done = {"max_epochs": _epochs(known), "max_steps": int(known.get("global_step", 0))}
    for name, number in done.items():
        limit = trainer.get(name)
        if limit is not None and 0 <= int(limit) <= number:
            rule = f"is reached: {checkpoint} has learned {number} {name.removeprefix('max_')}"
            raise SettingsError(f"trainer.{name}", limit, rule, f"ask for more, with `--set trainer.{name}=…`")


def _epochs(checkpoint: Mapping[str, Any]) -> int:
    """Return how many epochs were finished; Lightning's own number counts the one that is not."""
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (KeyError, TypeError, ValueError):
        return int(checkpoint.get("epoch", 0))


def _refuse_running(run: Run, status: RunStatus | None) -> None:
    if status is not None and status.state is RunState.RUNNING:
        raise BusyError("run", run.label, str(status), "wait for it to end, or stop it")


def _keep_metrics(path: Path) -> None:
    """Put the log of the epochs so far under another name: Lightning starts its own anew."""
    if path.is_file():
        number = 1 + sum(1 for _ in path.parent.glob("metrics_*.csv"))
        with writing(path):
            path.rename(path.with_name(f"metrics_{number}.csv"))
