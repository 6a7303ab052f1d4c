"""An experiment is one name under models, evaluation and deployment; a run is one training in it."""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.errors import WorkspaceError
from napari_vstain.core.files import remove_leftovers, temporary_beside, writing
from napari_vstain.core.run_status import RunState, RunStatus, read_status, write_status


@dataclass(frozen=True)
class Run:
    """One training in an experiment; `number` ties its folder to its configuration file."""

    experiment: "Experiment"
    number: int

    @property
    def name(self) -> str:
        """The folder's name, as Lightning's loggers write it."""
        return f"version_{self.number}"

    @property
    def label(self) -> str:
        """What a run is called where there are several experiments: ``experiment/version_0``."""
        return f"{self.experiment.name}/{self.name}"

    @property
    def folder(self) -> Path:
        """Logs and checkpoints."""
        return self.experiment.logs / self.name

    @property
    def config(self) -> Path:
        """The configuration that made the run: `vstain train -c` replays it."""
        return self.experiment.models / f"training_config{self.number}.yml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    def remove(self) -> None:
        """Delete its folder and its configuration."""
        self.config.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the lowest loss."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint that a training goes on from."""
        return self.checkpoints / "last.ckpt"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to predict with: the best, else the last.

        Raises
        ------
        WorkspaceError
            When the run has none, or none of a whole epoch.
        """
        if (found := self._found()) is not None:
            return found
        raise WorkspaceError("run", self.label, self.lacks or "has no checkpoint", "train it longer, or choose another")

    @property
    def status(self) -> RunStatus | None:
        """How far it came; None for a run from before runs said so."""
        return read_status(self.folder)

    @property
    def lacks(self) -> str:
        """Why it is not chosen as the newest run, as the end of a sentence; empty when it can be.

        A run can when it ended in order, completed or stopped, and learned for a whole epoch; one from before runs
        said so can when it has a checkpoint.
        """
        status = self.status
        if status is not None and not status.ended:
            return str(status)
        if not self.trained:
            return f"{status}, before the first epoch was finished" if status else "has no checkpoint"
        return ""

    @property
    def interrupted(self) -> bool:
        """Whether a training can go on with it: it was stopped, killed or failed, and there are epochs left."""
        status = self.status
        if status is None or status.state in (RunState.RUNNING, RunState.COMPLETED) or not self.last.is_file():
            return False
        return status.epochs_asked is None or status.epochs < status.epochs_asked

    @property
    def trained(self) -> bool:
        """Whether there is a checkpoint to predict with."""
        return self._found() is not None

    def _found(self) -> Path | None:
        status = self.status
        if status is not None and status.epochs == 0 and not self.best.is_file():
            return None  # what Stop saved in the middle of the first epoch: to go on from, not to predict with
        return next((path for path in (self.best, self.last) if path.is_file()), None)


@dataclass(frozen=True)
class Experiment:
    """A name that the folders under models, evaluation and deployment share."""

    root: Path
    """The workspace's folder."""
    name: str

    @property
    def models(self) -> Path:
        """Configurations and logs of training."""
        return self.root / "models" / self.name

    @property
    def logs(self) -> Path:
        """One folder a run."""
        return self.models / "lightning_logs"

    @property
    def evaluation(self) -> Path:
        """Predictions, ground truth and metrics."""
        return self.root / "evaluation" / self.name

    @property
    def groundtruth(self) -> Path:
        """Proofread ground truth."""
        return self.evaluation / "groundtruth"

    @property
    def metrics(self) -> Path:
        """The tidy table of metrics."""
        return self.evaluation / "metrics.csv"

    @property
    def deployment(self) -> Path:
        """Exported models."""
        return self.root / "deployment" / self.name

    def predictions(self, run: Run | None = None, dataset: str = "") -> Path:
        """Return where predictions go: of the chosen run on its own dataset, or of another run or dataset."""
        parts = ("predictions", run.name if run else "", dataset)
        return self.evaluation / f"{'_'.join(filter(None, parts))}.zarr"

    def runs(self) -> list[Run]:
        """Return the runs that have a folder, oldest first."""
        numbers = sorted(int(path.name.removeprefix("version_")) for path in self.logs.glob("version_[0-9]*"))
        return [Run(self, number) for number in numbers]

    def run(self, name: str = "") -> Run:
        """Return the run of that name, or the newest that can be predicted with; see `Run.lacks`.

        Raises
        ------
        WorkspaceError
            When there is none.
        """
        runs = self.runs()
        if name:
            for run in runs:
                if name in (run.name, str(run.number)):
                    return run
        if not runs or name:
            known = ", ".join(run.name for run in runs) or "no run yet"
            raise WorkspaceError(
                "run", name or self.name, f"the experiment has {known}", "train one with `vstain train`"
            )
        for run in reversed(runs):
            if not run.lacks:
                return run
        newest = runs[-1]
        remedy = "train again"
        if newest.last.is_file():
            remedy = f"go on with it by `vstain train --resume {newest.label}`"
        raise WorkspaceError("run", newest.label, newest.lacks, remedy)

    def next_run(self) -> Run:
        """Return what the next run would be; nothing is made."""
        return Run(self, max((run.number for run in self.runs()), default=-1) + 1)

    def new_run(self) -> Run:
        """Return the next run, whose folder is made here so that no other training takes its number."""
        while not self.claim(run := self.next_run()):
            pass
        return run

    def claim(self, run: Run, status: RunStatus | None = None) -> bool:
        """Make the folder of a run, its status in it; return False when another training has taken its number."""
        with writing(self.logs):
            self.logs.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.logs)
            prepared = temporary_beside(run.folder)
            prepared.mkdir()
            try:
                if status is not None:
                    write_status(prepared, status)
                if run.folder.exists():
                    return False
                prepared.rename(run.folder)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                return False
            finally:
                shutil.rmtree(prepared, ignore_errors=True)
        return True

    def remove_empty_runs(self) -> None:
        """Remove what killed trainings left: runs that saved nothing, and half-written files of those that did."""
        for run in self.runs():
            status = run.status
            if status is None or status.state is not RunState.KILLED:
                continue
            for folder in (run.folder, run.checkpoints):
                remove_leftovers(folder)
            if not any(run.checkpoints.glob("*.ckpt")):
                run.remove()
