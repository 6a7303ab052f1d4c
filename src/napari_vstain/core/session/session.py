"""A session adds to what is chosen what is done with it: each stage is a job that has started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from psygnal import Signal

from napari_vstain.core.experiments import Run
from napari_vstain.core.jobs import Job
from napari_vstain.core.progress import Progress
from napari_vstain.core.session.choices import Choices
from napari_vstain.core.session.curves import Curves
from napari_vstain.core.session.last_model import remember_model
from napari_vstain.core.session.live_prediction import LivePrediction, PredictionNotes
from napari_vstain.core.session.open_models import PredictorCache, chosen_model
from napari_vstain.core.session.opening import registered
from napari_vstain.core.session.session_jobs import JobKind, Jobs
from napari_vstain.core.settings import load_config

if TYPE_CHECKING:
    from napari_vstain.core.evaluation.stage import EvaluateResult
    from napari_vstain.core.inference.stage import PredictResult
    from napari_vstain.core.inference.streaming import StreamRequest
    from napari_vstain.core.models.split import Split
    from napari_vstain.core.training import TrainResult

T = TypeVar("T")


class Session(Choices):
    """The state that docks and scripts share. It knows no window.

    Jobs belong to the session: whoever started one may go, the job goes on until it ends or `close`.
    """

    runs_changed = Signal()
    job_started = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.threads: int | None = None
        """CPU threads of trainings and predictions; a window keeps one core for itself."""
        self._predictors = PredictorCache()
        self._jobs = Jobs()
        self._remembered: object = None

    # Stages

    def train(self, experiment: str, split: Split, **options: Any) -> Job[TrainResult]:
        """Train on the open dataset and the chosen channels; `options` are those of `TrainForm`."""
        dataset, workspace, sources, targets = self.open_dataset, self.open_workspace, self.sources, self.targets
        limited = {"threads": self.threads, **options}

        def train(progress: Progress) -> TrainResult:
            from napari_vstain.core import training

            seen = [dataset.positions[key] for key in (*split.train, *split.validate) if key in dataset.positions]
            with registered(workspace, dataset) as name:
                what = {"experiment": experiment, "dataset": name, "sources": sources, "targets": targets}
                parts = {"train_on": split.train, "validate_on": split.validate, "test_on": split.test}
                settings = training.TrainSettings.parse(training.TrainForm.parse({**what, **parts, **limited}).values())
                if limited.get("patch_px") is None:
                    settings = settings.fitting(position.shape[-2:] for position in seen)
                return training.run(settings, workspace, progress)

        asked = {"experiment": experiment, "split": split, "workspace": workspace, "dataset": dataset.name, **options}
        return self.start(train, f"Training {experiment}", kind=JobKind.TRAIN, asked=asked, record=Curves())

    def resume(self, run: Run) -> Job[TrainResult]:
        """Go on with a training that was interrupted, in its own folder and with its own settings."""
        workspace, threads = self.open_workspace, self.threads

        def resume(progress: Progress) -> TrainResult:
            from napari_vstain.core import training

            own = load_config(run.config) | {"experiment": run.experiment.name, "resume": run.name, "threads": threads}
            return training.run(training.TrainSettings.parse(own), workspace, progress)

        asked = {"experiment": run.experiment.name, "run": run, "workspace": workspace}
        return self.start(resume, f"Going on with {run.label}", kind=JobKind.TRAIN, asked=asked, record=Curves())

    def predict(self, positions: Sequence[str], **options: Any) -> Job[PredictResult]:
        """Predict whole positions into the workspace's store; `options` are those of `PredictSettings`."""
        dataset, workspace, model = self.open_dataset, self.open_workspace, self.open_model
        limited = {"threads": self.threads, **options}

        def predict(progress: Progress) -> PredictResult:
            from napari_vstain.core import inference

            with registered(workspace, dataset) as name:
                values = {"dataset": name, "positions": tuple(positions), "existing": "renew"}
                settings = inference.PredictSettings.parse({**values, **chosen_model(model), **limited})
                return inference.run(settings, workspace, progress)

        asked = {"positions": tuple(positions), "workspace": workspace}
        name = f"Predicting {positions[0] if len(positions) == 1 else f'{len(positions)} positions'}"
        return self.start(predict, name, kind=JobKind.PREDICT, asked=asked, record=PredictionNotes())

    def stream(self, request: StreamRequest, *, title: str = "", **options: Any) -> LivePrediction:
        """Predict open images with the chosen model, from what is looked at outward.

        Parameters
        ----------
        request : StreamRequest
            The images, one channel for each source of the model, in its order; and what is seen of them.
        title : str
            What the images are, for people.
        options
            ``engine``, ``device``, ``precision``, ``threads``, ``augment``.
        """
        model = self.open_model
        live = LivePrediction(request, model, {"threads": self.threads, **options}, self._predictors)
        asked = {"title": title, "targets": model.spec.targets, "workspace": self.workspace}
        live.job = self.start(
            live, f"Predicting {title}".strip(), kind=JobKind.PREDICT, asked=asked, record=PredictionNotes()
        )
        return live

    def evaluate(self, run: Run, positions: Sequence[str], **options: Any) -> Job[EvaluateResult]:
        """Compare a run's predictions with the targets; what is not predicted yet is predicted first."""
        dataset, workspace = self.open_dataset, self.open_workspace

        def evaluate(progress: Progress) -> EvaluateResult:
            from napari_vstain.core import evaluation, inference

            which = {"experiment": run.experiment.name, "run": run.name, "positions": tuple(positions)}
            with registered(workspace, dataset) as name:
                which["dataset"] = name
                inference.run(inference.PredictSettings.parse({**which, "existing": "skip"}), workspace, progress)
                return evaluation.run(evaluation.EvaluateSettings.parse({**which, **options}), workspace, progress)

        asked = {"run": run, "positions": tuple(positions), "workspace": workspace, "dataset": dataset.name}
        return self.start(evaluate, f"Evaluating {run.label}", kind=JobKind.EVALUATE, asked=asked)

    def export(self, run: Run, name: str = "", **options: Any) -> Job[Path]:
        """Write a run as ONNX, in a process of its own; the job's result is the file."""
        workspace = self.open_workspace

        def export(progress: Progress) -> Path:
            from napari_vstain.core import child
            from napari_vstain.core.deployment import ExportResult, ExportSettings

            values = {"experiment": run.experiment.name, "run": run.name, "name": name, **options}
            settings = ExportSettings.parse(values)
            return child.run_in_child("export", settings, workspace, progress).to(ExportResult).onnx

        asked = {"run": run, "name": name, "workspace": workspace}
        return self.start(export, f"Exporting {run.label}", kind=JobKind.EXPORT, asked=asked)

    def remember_model(self) -> None:
        """Write down, in the background, which model is used, for the next session in this workspace."""
        model, workspace = self.open_model, self.workspace
        self.choose_model(model)
        if self._remembered != (model, workspace):
            self._remembered = model, workspace
            self.start(lambda progress: remember_model(model, workspace), "Remembering the model", quiet=True)

    # Jobs

    @property
    def jobs(self) -> list[Job[Any]]:
        """The jobs that have not ended."""
        return self._jobs.running()

    @property
    def announced(self) -> list[Job[Any]]:
        """The jobs that have not ended and that a window shows."""
        return self._jobs.announced()

    def latest(self, kind: str) -> Job[Any] | None:
        """Return the job of a kind that was started last, running or ended: what a dock that opens later shows."""
        return self._jobs.latest(kind)

    def start(self, function: Callable[[Progress], T], name: str, *, quiet: bool = False, **what: Any) -> Job[T]:
        """Run a function in the background; a `quiet` one is not announced by `job_started`.

        `what` it is (``kind``, ``asked``, ``record``) is kept with the job.
        """
        job = self._jobs.start(function, name, quiet=quiet, **what)
        if not quiet:
            self.job_started.emit(job)
        return job

    def close(self, timeout_s: float = 5) -> bool:
        """Stop every job and wait for them at most `timeout_s` in all; return True if all ended."""
        return self._jobs.stop(timeout_s)
