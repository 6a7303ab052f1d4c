"""What an experiment has predicted, by which of its runs, and which positions of it are whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_vstain.core.data import Dataset, Position
from napari_vstain.core.data.identity import Identity, is_still, token_in
from napari_vstain.core.data.predicted import (
    NothingPredictedError,
    is_begun,
    open_predictions,
    record_of,
    resolved_name,
    shared_at,
)
from napari_vstain.core.errors import DatasetError, WorkspaceError
from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.core.left_out import LeftOut
from napari_vstain.core.models import ModelSpec
from napari_vstain.core.models.files.model_file import open_model
from napari_vstain.core.workspace import Workspace

SUFFIX = "_prediction"
"""What the name of a predicted channel ends with."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of one run of an experiment, or of a model that belongs to none."""

    run: str
    """Its name; empty for a model that belongs to none."""
    spec: ModelSpec
    store: Dataset

    def positions(self, wanted: Sequence[str], dataset: Dataset) -> tuple[list[str], list[LeftOut]]:
        """Return the positions that can be evaluated, and those that cannot, each with its reason.

        Parameters
        ----------
        wanted : sequence of str
            Positions asked for; when empty, those that the dataset lists and the store has.
        dataset : Dataset
            What was predicted.

        Raises
        ------
        DatasetError
            When the store and the dataset share no position.
        """
        listed = {*dataset.positions, *dataset.unusable}
        keys = list(wanted) or [key for key in self.store.positions if key in listed]
        if not keys:
            rule = f"share no position with {self.store.path.name}"
            raise DatasetError("predictions", None, rule, "choose the dataset that was predicted")
        problems = {key: self.problem(key, dataset.positions.get(key)) for key in keys}
        left_out = [LeftOut(key, problem) for key, problem in problems.items() if problem]
        return [key for key in keys if not problems[key]], left_out

    def problem(self, key: str, position: Position | None) -> str:
        """Return why a position, None if the dataset's cannot be used, cannot be evaluated as predicted; or nothing."""
        said = record_of(self.store.position(key)) if key in self.store.positions else {}
        if not is_begun(said):
            return "is not predicted yet"
        if said.get("fingerprint") != self.spec.fingerprint:
            return f"was predicted by another model than {self.run or self.spec.name}"
        known, sources = Identity.parse(said.get("input")), self.details(key).get("sources", self.spec.sources)
        if known is not None and position is not None and not is_still(position, sources, known):
            return "was predicted from other pixels than the dataset has now: predict it again"
        return "" if said.get("complete") else "is predicted in part only"

    def details(self, key: str) -> Mapping[str, Any]:
        """Return how a position was predicted: sources, augmentation, precision."""
        details = record_of(self.store.position(key)).get("details")
        return details if isinstance(details, Mapping) else {}


def find_predictions(
    workspace: Workspace, experiment: Experiment, run: str = "", model: Path | None = None, dataset: str = ""
) -> Predictions:
    """Return the predictions of a run, or of the run that predicted when `run` is empty, or of a model file.

    They are of `dataset`, by its name or path, or of the one that the model was trained on. A store says by its
    model's fingerprint which run it comes from, and which dataset it is of, whatever its name.

    Raises
    ------
    WorkspaceError
        When the experiment has no such run, or the run no checkpoint.
    ModelError
        When a model cannot be read.
    DatasetError
        When nothing is predicted yet, or only by other models or of other datasets.
    """
    candidates = _of_runs(experiment, run) if model is None else {"": open_model(model).spec()}
    stores = list(_stores(experiment, experiment.run(run) if run else None))
    if not stores:
        raise DatasetError("experiment", experiment.name, "nothing is predicted yet", "run `vstain predict` first")
    for store in stores:
        for name, spec in candidates.items():
            if _is_of(store, spec, _wanted(workspace, dataset or spec.training.dataset)):
                return Predictions(name, spec, store)
    rule = f"{' and '.join(store.path.name for store in stores)} come from another model or are of another dataset"
    raise DatasetError("model", model or run or experiment.name, rule, "predict this dataset with it first")


def _stores(experiment: Experiment, run: Run | None) -> Iterator[Dataset]:
    """Yield the stores that may hold the predictions of a run, its own first; those in which nothing is, are none."""
    first = [experiment.predictions(run), experiment.predictions()]
    others = sorted(path for path in experiment.evaluation.glob("predictions_*.zarr") if path not in first)
    for path in dict.fromkeys([*first, *others]):
        with suppress(NothingPredictedError):
            yield open_predictions(path)


def _wanted(workspace: Workspace, dataset: str) -> tuple[str, str] | None:
    """Return what a store calls a dataset, and the mark that this got when it was made; None if there is no telling."""
    if not dataset:
        return None
    try:
        path = workspace.find_dataset(dataset)
        return workspace.name_of(path), token_in(path)
    except (WorkspaceError, DatasetError):
        return resolved_name(dataset), ""


def _is_of(store: Dataset, spec: ModelSpec, dataset: tuple[str, str] | None) -> bool:
    """Return True if a position was predicted by a model on a dataset; a store may not say which dataset."""
    records = [said for position in store.positions.values() if is_begun(said := record_of(position))]
    ours = [said for said in records if said.get("fingerprint") == spec.fingerprint]
    if not ours or dataset is None:
        return bool(ours)
    name, token = dataset
    shared = shared_at(store.path)
    if token and shared.get("token") == token:
        return True
    names = {said.get("details", {}).get("dataset") for said in ours}
    return any(known is None or resolved_name(str(known)) == name for known in names)


def _of_runs(experiment: Experiment, run: str) -> dict[str, ModelSpec]:
    """Return the specs of the runs that may have predicted, newest first."""
    newest = experiment.run(run)
    runs = [newest] if run else [one for one in reversed(experiment.runs()) if one.trained]
    return {one.name: open_model(one.checkpoint).spec() for one in runs or [newest]}
