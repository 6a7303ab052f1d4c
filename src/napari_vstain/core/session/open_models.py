"""The model that predicts: where it is, what it says of itself, and the one that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from napari_vstain.core.experiments import Run
from napari_vstain.core.models.files.model_file import ModelFile, open_model
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    from napari_vstain.core.inference.predictor import Predictor
    from napari_vstain.core.models.files.model_notes import ModelNotes


@dataclass(frozen=True)
class Model:
    """A model to predict with: its file, and what it says of itself."""

    path: Path
    spec: ModelSpec
    run: Run | None = None
    """The training it comes from, when it is one of the workspace's."""
    notes: ModelNotes | None = None
    """What was said of it, when it is a third-party model."""

    @property
    def file(self) -> ModelFile:
        """The file, opened; what was measured of a third-party one is not measured again."""
        return open_model(self.path, self.notes, self.spec if self.notes is not None else None)

    @property
    def name(self) -> str:
        """For people: ``experiment/version_0``, or the file's name."""
        return self.run.label if self.run else self.path.name


class PredictorCache:
    """The last model that was loaded, so that the next prediction with it starts at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: tuple[Any, ...] = ()
        self._predictor: Predictor | None = None

    def get(self, model: Model, options: Mapping[str, Any], progress: Progress | None = None) -> Predictor:
        """Return the predictor of a model, loaded again when its file or the options changed.

        `progress` hears which engine is measured meanwhile, and stops that.
        """
        report = progress or Progress()

        def tell(engine: str) -> None:
            report.phase(f"comparing engines: {engine}")

        from napari_vstain.core.inference.loading import load_predictor

        key = (model.path, model.path.stat().st_mtime_ns, repr(model.notes), *sorted(options.items()))
        with self._lock:
            if self._predictor is None or key != self._key:
                self._predictor = None  # the old one's memory is free before the new one is loaded
                self._predictor = load_predictor(model.file, token=report.token, tell=tell, **options)
                self._key = key
            return self._predictor


def model_at(path: Path | str, run: Run | None = None, notes: ModelNotes | None = None) -> Model:
    """Read what a model file says of itself, or what is said of it; a third-party one takes seconds.

    Raises
    ------
    ModelError
        When it is no model.
    SettingsError
        When what is said of it is not enough.
    """
    return Model(Path(path), open_model(path, notes).spec(), run, notes)


def chosen_model(model: Model) -> dict[str, Any]:
    """Return what names a model in the settings of a prediction."""
    if model.notes is not None:
        return {"model": model.path, "model_info": model.notes.model_dump()}
    if model.run is None:
        return {"model": model.path}
    return {"experiment": model.run.experiment.name, "run": model.run.name}


def runs_of(workspace: Workspace) -> list[Run]:
    """Return the runs that have a checkpoint, newest first; those that still go on or were killed come last."""
    runs = [run for name in workspace.experiments() for run in workspace.experiment(name).runs() if run.trained]
    return sorted(runs, key=lambda run: (not run.lacks, run.checkpoint.stat().st_mtime), reverse=True)
