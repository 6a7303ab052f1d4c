"""A session is what a script or a window holds: workspace, open position, channel choice, model and jobs."""

from __future__ import annotations

import atexit
import re
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from psygnal import Signal

from napari_vstain.core.errors import ChannelError, DatasetError, ModelError, WorkspaceError
from napari_vstain.core.jobs import Job
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Run, Workspace

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset, Position
    from napari_vstain.core.evaluation.stage import EvaluateResult
    from napari_vstain.core.inference.cells import Area
    from napari_vstain.core.inference.elsewhere import Elsewhere
    from napari_vstain.core.inference.predictor import Predictor
    from napari_vstain.core.inference.stage import PredictResult
    from napari_vstain.core.inference.streaming import Stream
    from napari_vstain.core.training import TrainResult
    from napari_vstain.core.training.splits import Split

T = TypeVar("T")
Spacing = tuple[float | None, float | None, float | None]
_LABEL_FREE = re.compile(r"phase|bright|bf|dic|trans|label.?free|retardance|dark.?field|nomarski|hoffman", re.I)
_alive: weakref.WeakSet[Job[Any]] = weakref.WeakSet()


@dataclass(frozen=True)
class Opened:
    """What a path turned out to be."""

    workspace: Workspace | None
    dataset: Dataset | None


@dataclass(frozen=True)
class Model:
    """A model to predict with: its file, and what it says of itself."""

    path: Path
    spec: ModelSpec
    run: Run | None = None
    """The training it comes from, when it is one of the workspace's."""
    elsewhere: Elsewhere | None = None
    """What was said of it, when it was made elsewhere."""

    @property
    def name(self) -> str:
        """For people: ``experiment/version_0``, or the file's name."""
        return f"{self.run.experiment.name}/{self.run.name}" if self.run else self.path.name


@dataclass(frozen=True)
class Engaged:
    """What a prediction runs on, for people; a job says it once the model is loaded."""

    engine: str
    device: str
    precision: str


@dataclass(frozen=True)
class Caveat:
    """One sentence on what the tiles of a prediction cost in exactness; a job says it once it is measured."""

    sentence: str


class Live:
    """A prediction of open images, whose order follows what the user looks at, even while the model still loads."""

    job: Job[Mapping[str, Any]]

    def __init__(
        self, model: Model, images: tuple[Any, ...], axes: str, outputs: Mapping[str, Any], view: Area, scope: Area,
        options: Mapping[str, Any], predictors: PredictorCache, spacing_um: Spacing | None = None,
        resample: bool = False,
    ) -> None:  # fmt: skip
        self._model, self._images, self._axes, self._outputs = model, images, axes, outputs
        self._view, self._scope = view, scope
        self._options, self._predictors = dict(options), predictors
        self._spacing_um, self._resample = spacing_um, resample
        self._stream: Stream | None = None
        self._lock = Lock()

    def look_at(self, view: Area) -> None:
        """Go on with what is left from the centre of `view` outward; from any thread."""
        with self._lock:
            self._view = view
            if self._stream is not None:
                self._stream.look_at(view)

    def __call__(self, progress: Progress) -> Mapping[str, Any]:
        """Load the model, unless it is loaded, and predict."""
        from napari_vstain.core.inference.sources import ChannelStack
        from napari_vstain.core.inference.streaming import Stream

        tile_px = self._options.pop("tile_px", None)
        progress.phase("loading the model")
        predictor = self._predictors.get(self._model, self._options)
        if self._resample:
            predictor = _resampled(predictor, self._spacing_um)
        progress.produce(Engaged(predictor.engine.name, predictor.engine.device, predictor.engine.precision))
        stack = ChannelStack(self._images, self._axes)
        stream = Stream(
            stack, predictor, self._view,
            scope=self._scope, outputs=self._outputs, tile_px=tile_px, spacing_um=self._spacing_um,
        )  # fmt: skip
        with self._lock:
            self._stream = stream
            stream.look_at(self._view)
        self._images = ()
        made = stream(progress)
        if caveat := stream.caveat:
            progress.produce(Caveat(caveat))
        return made


class PredictorCache:
    """The last model that was loaded, so that the next prediction with it starts at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: tuple[Any, ...] = ()
        self._predictor: Predictor | None = None

    def get(self, model: Model, options: Mapping[str, Any]) -> Predictor:
        """Return the predictor of a model, loaded again when its file or the options changed."""
        from napari_vstain.core.inference.predictor import load_predictor

        key = (model.path, model.path.stat().st_mtime_ns, repr(model.elsewhere), *sorted(options.items()))
        with self._lock:
            if self._predictor is None or key != self._key:
                self._predictor = None  # the old one's memory is free before the new one is loaded
                self._predictor, self._key = load_predictor(model.path, **_told(model), **options), key
            return self._predictor


class Session:
    """The state that docks and scripts share. It knows no window.

    Change it from one thread (in a window, the main thread): its signals are emitted where it is changed.
    Jobs belong to the session: whoever started one may go, the job goes on until it ends or `close`.
    """

    workspace_changed = Signal(object)
    dataset_changed = Signal(object)
    position_changed = Signal(object)
    channels_changed = Signal(tuple, tuple)
    model_changed = Signal(object)
    runs_changed = Signal()
    job_started = Signal(object)

    def __init__(self) -> None:
        self.workspace: Workspace | None = None
        self.dataset: Dataset | None = None
        self.position: Position | None = None
        self.sources: tuple[str, ...] = ()
        self.targets: tuple[str, ...] = ()
        self.model: Model | None = None
        self.threads: int | None = None
        """CPU threads of trainings and predictions; a window keeps one core for itself."""
        self._predictors = PredictorCache()
        self._jobs: list[Job[Any]] = []
        self._quiet: weakref.WeakSet[Job[Any]] = weakref.WeakSet()
        weakref.finalize(self, stop_jobs, self._jobs).atexit = False

    # What is open

    def open(self, path: Path | str) -> Opened:
        """Open a workspace, or an OME-Zarr, and make it this session's; blocks while it is read."""
        opened = open_path(path, self.workspace)
        self.adopt(opened)
        return opened

    def adopt(self, opened: Opened) -> None:
        """Make what was opened this session's, the first position and the likely channels chosen."""
        if opened.workspace != self.workspace and opened.workspace is not None:
            self.workspace = opened.workspace
            self.workspace_changed.emit(self.workspace)
        if opened.dataset is not None:
            self._adopt_dataset(opened.dataset)

    def choose_position(self, key: str) -> None:
        """Make a position of the dataset the open one.

        Raises
        ------
        ChannelError
            When the dataset has none of that name.
        """
        position = self.open_dataset.position(key)
        if self.position is None or position.key != self.position.key:
            self.position = position
            self.position_changed.emit(position)

    def step_position(self, step: int) -> None:
        """Go `step` positions on, at most to the first or the last."""
        keys = list(self.open_dataset.positions)
        at = keys.index(self.position.key) if self.position else 0
        self.choose_position(keys[min(max(at + step, 0), len(keys) - 1)])

    def choose_channels(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Say which channels are predicted from, and which are predicted.

        Raises
        ------
        ChannelError
            When the dataset has no such channel, or one is both.
        """
        known = self.open_dataset.channels
        for name in (*sources, *targets):
            if name not in known:
                raise ChannelError("channel", name, f"the dataset has {', '.join(known)}", "choose one of these")
        if both := set(sources) & set(targets):
            raise ChannelError("channel", min(both), "cannot be source and target at once", "choose one role")
        self.sources, self.targets = tuple(sources), tuple(targets)
        self.channels_changed.emit(self.sources, self.targets)

    @property
    def open_dataset(self) -> Dataset:
        """The dataset; DatasetError when none is open."""
        if self.dataset is None:
            raise DatasetError("dataset", None, "none is open", "open a workspace or an OME-Zarr first")
        return self.dataset

    @property
    def open_workspace(self) -> Workspace:
        """The workspace; WorkspaceError when none is open."""
        if self.workspace is None:
            raise WorkspaceError("workspace", None, "none is open", "open or create one first")
        return self.workspace

    def split(self) -> Split:
        """Return the split of the dataset's positions that a training uses unless it is told otherwise."""
        from napari_vstain.core.training.splits import hash_split

        return hash_split(tuple(self.open_dataset.positions))

    # Stages: each returns a job that has started

    def train(self, experiment: str, split: Split, **options: Any) -> Job[TrainResult]:
        """Train on the open dataset and the chosen channels; `options` are those of `TrainSettings.quick`."""
        dataset, workspace, sources, targets = self.open_dataset, self.open_workspace, self.sources, self.targets
        limited = {"threads": self.threads, **options}

        def train(progress: Progress) -> TrainResult:
            from napari_vstain.core import training

            name = registered_name(workspace, dataset)
            settings = training.TrainSettings.quick(
                experiment, name, sources, targets,
                train=split.train, validate=split.validate, test=split.test, **limited,
            )  # fmt: skip
            return training.run(settings, workspace, progress)

        return self.start(train, f"Training {experiment}")

    def predict(self, positions: Sequence[str], **options: Any) -> Job[PredictResult]:
        """Predict whole positions into the workspace's store; `options` are those of `PredictSettings`."""
        dataset, workspace, model = self.open_dataset, self.open_workspace, self.open_model
        limited = {"threads": self.threads, **options}

        def predict(progress: Progress) -> PredictResult:
            from napari_vstain.core.inference import stage

            values = {"dataset": registered_name(workspace, dataset), "positions": tuple(positions)}
            settings = stage.PredictSettings.parse({**values, **chosen_model(model), **limited})
            return stage.run(settings, workspace, progress)

        return self.start(predict, f"Predicting {len(positions)} positions")

    def stream(
        self, images: Sequence[Any], axes: str, outputs: Mapping[str, Any], view: Area, scope: Area,
        *, spacing_um: Spacing | None = None, resample: bool = False, **options: Any,
    ) -> Live:  # fmt: skip
        """Predict open images from what is looked at outward, into `outputs`; see `inference.streaming.Stream`.

        Parameters
        ----------
        images : sequence of arrays
            One for each source of the chosen model, in its order, all of one shape.
        axes : str
            Theirs: ``YX``, ``ZYX``, ``TYX`` or ``TZYX``.
        outputs : mapping of arrays
            By task, float32, (T, C, Z, Y, X).
        spacing_um : (Z, Y, X), optional
            Voxel size of the images in micrometres, compared with the model's; None where it is not known.
        resample : bool
            Predict at the model's voxel size, and bring the prediction back onto the images' pixels.
        options
            ``engine``, ``device``, ``precision``, ``threads``, ``augment``, ``tile_px``.
        """
        options = {"threads": self.threads, **options}
        live = Live(
            self.open_model, tuple(images), axes, outputs, view, scope, options, self._predictors, spacing_um, resample
        )
        live.job = self.start(live, "Predicting")
        return live

    def evaluate(self, run: Run, positions: Sequence[str], **options: Any) -> Job[EvaluateResult]:
        """Compare a run's predictions with the targets; what is not predicted yet is predicted first."""
        dataset, workspace = self.open_dataset, self.open_workspace

        def evaluate(progress: Progress) -> EvaluateResult:
            from napari_vstain.core import evaluation
            from napari_vstain.core.inference import stage

            which = {
                "experiment": run.experiment.name, "run": run.name,
                "dataset": registered_name(workspace, dataset), "positions": tuple(positions),
            }  # fmt: skip
            stage.run(stage.PredictSettings.parse(which), workspace, progress)
            return evaluation.run(evaluation.EvaluateSettings.parse({**which, **options}), workspace, progress)

        return self.start(evaluate, f"Evaluating {run.experiment.name}")

    def export(self, run: Run, name: str = "", **options: Any) -> Job[Path]:
        """Write a run as ONNX, in a process of its own; the job's result is the file."""
        workspace = self.open_workspace

        def export(progress: Progress) -> Path:
            from tempfile import TemporaryDirectory

            from napari_vstain.core.deployment import ExportSettings
            from napari_vstain.core.processes import run_verb_in_child

            values = {"experiment": run.experiment.name, "run": run.name, "name": name, **options}
            with TemporaryDirectory() as folder:
                config = Path(folder) / "export_config.yml"
                ExportSettings.parse(values).save(config)
                return run_verb_in_child("export", config, workspace, progress)["ONNX"]

        return self.start(export, f"Exporting {run.experiment.name}")

    # Models

    def runs(self) -> list[Run]:
        """Return the runs of the workspace that have a checkpoint, newest first; reads folders."""
        return [] if self.workspace is None else runs_of(self.workspace)

    @property
    def open_model(self) -> Model:
        """The model; ModelError when none is chosen."""
        if self.model is None:
            raise ModelError("model", None, "none is chosen", "choose a run or a model file")
        return self.model

    def choose_model(self, model: Model | None) -> None:
        """Make a model the one that predicts."""
        if model != self.model:
            self.model = model
            self.model_changed.emit(model)

    # Jobs

    @property
    def jobs(self) -> list[Job[Any]]:
        """The jobs that have not ended."""
        self._jobs[:] = [job for job in self._jobs if job.running]
        return list(self._jobs)

    @property
    def announced(self) -> list[Job[Any]]:
        """The jobs that have not ended and that a window shows."""
        return [job for job in self.jobs if job not in self._quiet]

    def start(self, function: Callable[[Progress], T], name: str, *, quiet: bool = False) -> Job[T]:
        """Run a function in the background; a `quiet` one is not announced by `job_started`."""
        job = Job(function, name)
        self._jobs[:] = [*self.jobs, job]
        _alive.add(job)
        if quiet:
            self._quiet.add(job)
        job.start()
        if not quiet:
            self.job_started.emit(job)
        return job

    def close(self, timeout_s: float = 5) -> bool:
        """Stop every job and wait for them at most `timeout_s` in all; return True if all ended."""
        return stop_jobs(self._jobs, timeout_s)

    def _adopt_dataset(self, dataset: Dataset) -> None:
        self.dataset, self.position = dataset, None
        self.sources, self.targets = guess_roles(dataset.channels)
        self.dataset_changed.emit(dataset)
        self.channels_changed.emit(self.sources, self.targets)
        if dataset.positions:
            self.choose_position(next(iter(dataset.positions)))


def open_path(path: Path | str, workspace: Workspace | None = None) -> Opened:
    """Return what a path is: a workspace with its newest dataset, or an OME-Zarr, in a workspace or alone.

    Raises
    ------
    DatasetError, WorkspaceError
        When it is neither.
    """
    from napari_vstain.core.data import open_dataset

    place = Path(path).expanduser().absolute()
    if Workspace.is_one(place):
        found = Workspace.open(place)
        names = found.dataset_names()
        return Opened(found, open_dataset(found.dataset(names[-1]), found) if names else None)
    home = _workspace_around(place) or workspace
    return Opened(home, open_dataset(place, home))


def guess_roles(channels: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ``(sources, targets)``: label-free channels by their names, else the first, and all others."""
    names = tuple(channels)
    sources = tuple(name for name in names if _LABEL_FREE.search(name)) or names[:1]
    return sources, tuple(name for name in names if name not in sources)


def registered_name(workspace: Workspace, dataset: Dataset) -> str:
    """Return the name of a dataset in a workspace; one that lies elsewhere is linked first."""
    inside = dataset.path.parent == workspace.datasets
    return dataset.name if inside else workspace.link_dataset(dataset.path)


def chosen_model(model: Model) -> dict[str, Any]:
    """Return what names a model in the settings of a prediction."""
    if model.elsewhere is not None:
        return {"model": model.path, "elsewhere": model.elsewhere.model_dump()}
    if model.run is None:
        return {"model": model.path}
    return {"experiment": model.run.experiment.name, "run": model.run.name}


def runs_of(workspace: Workspace) -> list[Run]:
    """Return the runs that have a checkpoint, newest first."""
    runs = [run for name in workspace.experiments() for run in workspace.experiment(name).runs()]
    return sorted(filter(_has_checkpoint, runs), key=lambda run: run.checkpoint.stat().st_mtime, reverse=True)


def load_model(path: Path | str, run: Run | None = None, elsewhere: Elsewhere | None = None) -> Model:
    """Read what a model file says of itself, or what is said of it; one that was made elsewhere takes seconds.

    Raises
    ------
    ModelError
        When it is no model.
    SettingsError
        When what is said in `elsewhere` is not enough.
    """
    place = Path(path)
    if elsewhere is not None:
        from napari_vstain.core.inference.loading import model_spec

        return Model(place, model_spec(place, elsewhere), run, elsewhere)
    if place.suffix == ".onnx":
        from napari_vstain.core.models.onnx import read_spec

        return Model(place, read_spec(place), run)
    from napari_vstain.core.models.checkpoint import load_spec

    return Model(place, load_spec(place), run)


def stop_jobs(jobs: Iterable[Job[Any]], timeout_s: float = 0) -> bool:
    """Ask jobs to stop and wait for them at most `timeout_s` in all; return True if all ended."""
    running = [job for job in jobs if job.running]
    for job in running:
        job.stop()
    deadline = time.monotonic() + timeout_s
    for job in running:
        job.wait(max(deadline - time.monotonic(), 0))
    return not any(job.running for job in running)


def _told(model: Model) -> dict[str, Any]:
    """Return what `load_predictor` is told of a model that was made elsewhere; what was measured is kept."""
    if model.elsewhere is None:
        return {}
    return {"spec": model.spec} if model.path.suffix == ".onnx" else {"elsewhere": model.elsewhere}


def _resampled(predictor: Predictor, spacing_um: Spacing | None) -> Predictor:
    """Return a predictor for images of a voxel size."""
    from napari_vstain.core.inference.resampling import ResampledPredictor, factors_of

    known = None if spacing_um is None else tuple(step or 1.0 for step in spacing_um)
    factors = factors_of(predictor.model, known)
    return predictor if factors == (1, 1) else ResampledPredictor(predictor, factors)


def _workspace_around(store: Path) -> Workspace | None:
    root = store.parent.parent
    return Workspace.open(root) if store.parent.name == "datasets" and Workspace.is_one(root) else None


def _has_checkpoint(run: Run) -> bool:
    try:
        return run.checkpoint.is_file()
    except WorkspaceError:
        return False


@atexit.register
def _stop_at_exit() -> None:
    stop_jobs(list(_alive), timeout_s=4)
