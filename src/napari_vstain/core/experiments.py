"""An experiment is one name under models, evaluation and deployment; a run is one training in it."""

from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.errors import WorkspaceError
from napari_vstain.core.files import writing


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

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to predict with: the best, else the last.

        Raises
        ------
        WorkspaceError
            When the run has none.
        """
        for name in ("best.ckpt", "last.ckpt"):
            if (self.checkpoints / name).is_file():
                return self.checkpoints / name
        raise WorkspaceError("run", self.name, "has no checkpoint", "train it longer, or choose another run")


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
        """Return the run of that name, or the newest.

        Raises
        ------
        WorkspaceError
            When there is none.
        """
        runs = [run for run in self.runs() if name in ("", run.name, str(run.number))]
        if not runs:
            known = ", ".join(run.name for run in self.runs()) or "no run yet"
            raise WorkspaceError(
                "run", name or self.name, f"the experiment has {known}", "train one with `vstain train`"
            )
        return runs[-1]

    def new_run(self) -> Run:
        """Return the next run, whose folder is made here so that no other training takes its number."""
        with writing(self.logs):
            self.logs.mkdir(parents=True, exist_ok=True)
            number = max((run.number for run in self.runs()), default=-1) + 1
            while True:
                try:
                    Run(self, number).folder.mkdir()
                except FileExistsError:
                    number += 1
                else:
                    return Run(self, number)
