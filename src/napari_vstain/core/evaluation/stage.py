"""Stage 4: compare predictions with the targets they predict, beside the trivial baseline, in ``metrics.csv``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from napari_vstain.core.data import Dataset, Position, open_dataset
from napari_vstain.core.errors import ChannelError, DatasetError, VstainError
from napari_vstain.core.evaluation.baseline import Baseline, fit_baseline
from napari_vstain.core.evaluation.definitions import Definitions, describe
from napari_vstain.core.evaluation.intensity import Score, scores
from napari_vstain.core.evaluation.predictions import SUFFIX, Predictions, find_predictions, verdicts
from napari_vstain.core.evaluation.table import Row, to_table, write_table
from napari_vstain.core.models import OutputKind
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.stages import config_path
from napari_vstain.core.workspace import Experiment, Workspace

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Masks = dict[str, npt.NDArray[np.bool_] | None]


class EvaluateSettings(Settings):
    """Which predictions to compare with which targets, and how."""

    experiment: str = Field(title="Experiment", description="Whose predictions to evaluate.")
    run: str = Field("", title="Run", description="Run of the experiment; the one that predicted when empty.")
    model: Path | None = Field(
        None,
        title="Model",
        description="The checkpoint or ONNX file that predicted, when it is no run of the experiment.",
    )
    dataset: str = Field(
        "",
        title="Dataset",
        description="Name in the workspace, or path, of the dataset that was predicted; the training's when empty.",
    )
    positions: tuple[str, ...] = Field(
        (), title="Positions", description="Positions like B/03/0; all that are predicted whole when empty."
    )
    levels: tuple[Literal["slice", "volume"], ...] = Field(
        ("slice", "volume"), min_length=1, title="Levels", description="What one row of the table is computed on."
    )
    masks: tuple[Literal["whole", "foreground"], ...] = Field(
        ("whole",),
        min_length=1,
        title="Masks",
        description="Which pixels count: all, or those of the target above its Otsu threshold.",
    )
    baseline: bool = Field(
        True, title="Trivial baseline", description="Also fit and evaluate what any model must beat."
    )
    baseline_planes: int = Field(
        256,
        ge=1,
        title="Baseline slices",
        description="Slices of the training positions that the baseline is fitted to, spread evenly; all if fewer.",
    )
    metrics: Definitions = Field(Definitions(), title="Metrics", description="Which definitions are meant.")
    threads: int | None = Field(None, ge=1, title="Threads", description="CPU threads; all when empty.")


@dataclass(frozen=True)
class EvaluateResult:
    """What was compared."""

    metrics: Path
    readme: Path
    config: Path
    table: "pd.DataFrame"
    """The rows of this evaluation; the file may also hold those of other positions and runs."""
    positions: tuple[str, ...]
    warnings: tuple[str, ...]
    """One sentence for each position that is left out, and each value that is not defined."""


def run(settings: EvaluateSettings, workspace: Workspace, progress: Progress) -> EvaluateResult:
    """Compute the metrics, then write the experiment's ``metrics.csv``, ``metrics.README`` and ``evaluate_config.yml``.

    Nothing is written before all is computed. One time point of one position is held in memory at a time.

    Raises
    ------
    Cancelled
        When it was stopped; nothing was written.
    ChannelError
        When the dataset lacks a target, or a position.
    DatasetError
        When nothing is predicted yet, a position is predicted in part only, or shapes differ.
    StorageError
        When the folder takes no data.
    """
    progress.phase("Finding the predictions")
    experiment = workspace.experiment(settings.experiment)
    predictions = find_predictions(experiment, settings.run, settings.model, settings.dataset)
    dataset = open_dataset(workspace.find_dataset(settings.dataset or _trained_on(predictions)), workspace)
    keys, warnings = predictions.positions(settings.positions, dataset.positions)
    splits = _splits(predictions, dataset, workspace)
    evaluation = _Evaluation(settings, experiment, predictions, dataset, warnings, splits, verdicts(experiment))
    for key in keys:
        evaluation.check(key)
    evaluation.fit(workspace, progress)
    rows = evaluation.rows(keys, progress)
    table = to_table(rows)
    config = config_path(experiment.evaluation, "evaluate")
    settings.save(config)
    write_table(table, experiment.metrics, describe(settings.metrics))
    readme = experiment.metrics.with_suffix(".README")
    return EvaluateResult(experiment.metrics, readme, config, table, tuple(keys), tuple(evaluation.warnings))


@dataclass
class _Evaluation:
    """One evaluation while it runs."""

    settings: EvaluateSettings
    experiment: Experiment
    predictions: Predictions
    dataset: Dataset
    warnings: list[str]
    splits: Mapping[str, str]
    verdicts: Mapping[str, str]
    baseline: Baseline | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The stain channels that are compared as intensities."""
        outputs = self.predictions.spec.outputs
        return tuple(name for one in outputs if one.kind is OutputKind.FLUORESCENCE for name in one.channels)

    def check(self, key: str) -> None:
        """Raise unless a position has every target, in the shape that was predicted."""
        truth, guess = self.dataset.position(key), self.predictions.store.position(key)
        for target in self.targets:
            _has_target(truth, target)
            guess.channel_index(target + SUFFIX)
        (t, _, *zyx), (times, _, *predicted) = truth.shape, guess.shape
        if [t, *zyx] != [times, *predicted]:
            rule = f"has {_size(truth.shape)} px (T, Z, Y, X) and its prediction {_size(guess.shape)}"
            raise DatasetError("position", key, rule, "evaluate on the dataset that was predicted")

    def fit(self, workspace: Workspace, progress: Progress) -> None:
        """Fit the baseline on the training positions; when they cannot be read, say so and go on without."""
        if not self.settings.baseline:
            return
        try:
            training = open_dataset(workspace.find_dataset(_trained_on(self.predictions)), workspace)
            planes = _planes(training, _split(self.predictions, "train"), self.settings.baseline_planes)
            progress.phase("Fitting the trivial baseline", len(planes), "slices")
            self.baseline = fit_baseline(self._pairs(training, planes, progress), self.settings.threads)
        except VstainError as error:
            self.warnings.append(f"There is no trivial baseline: {error}")

    def rows(self, keys: Sequence[str], progress: Progress) -> list[Row]:
        """Return the rows of every position."""
        times = sum(self.dataset.position(key).shape[0] for key in keys)
        progress.phase("Comparing", times * len(self.targets), "images")
        return [row for key in keys for row in self._position(key, progress)]

    def _position(self, key: str, progress: Progress) -> Iterator[Row]:
        position = self.dataset.position(key)
        for t in range(position.shape[0]):
            guesses = self._baseline(position, t)
            for index, target in enumerate(self.targets):
                truth = position.read([target], t)[0]
                masks = self._masks(truth)
                guess = self.predictions.store.position(key).read([target + SUFFIX], t)[0]
                yield from self._scored("model", key, target, t, truth, guess, masks, progress)
                if guesses is not None:
                    yield from self._scored("baseline", key, target, t, truth, guesses[index], masks, progress)
                progress.advance()

    def _scored(
        self,
        predictor: str,
        key: str,
        target: str,
        t: int,
        truth: Array,
        guess: Array,
        masks: Masks,
        progress: Progress,
    ) -> Iterator[Row]:
        for score in scores(truth, guess, masks, self.settings.metrics, self.settings.threads):
            progress.check()
            level = "volume" if score.z is None else "slice"
            if level not in self.settings.levels:
                continue
            self._note_undefined(f"{target} at {key}", t, predictor, score)
            yield Row(
                self.experiment.name, self.predictions.run, self.predictions.spec.fingerprint, predictor,
                self.dataset.name, key, self.splits.get(key, ""), self.verdicts.get(key, "unreviewed"), target,
                t, score.z, level, None, score.mask, score.metrics,
            )  # fmt: skip

    def _note_undefined(self, where: str, t: int, predictor: str, score: Score) -> None:
        undefined = [name for name, value in score.metrics.items() if value != value]
        if undefined:
            place = f"t {t}" if score.z is None else f"t {t}, z {score.z}"
            self.warnings.append(f"{where}, {place}, {predictor}: {_why(score)}, so {', '.join(undefined)} is empty.")

    def _baseline(self, position: Position, t: int) -> npt.NDArray[np.float32] | None:
        if self.baseline is None:
            return None
        channels = self.predictions.details(position.key).get("sources") or self.predictions.spec.sources
        return self.baseline.predict(position.read(list(channels), t), self.settings.threads)

    def _pairs(
        self, dataset: Dataset, planes: Sequence[tuple[str, int, int]], progress: Progress
    ) -> Iterator[tuple[Array, Array]]:
        for key, t, z in planes:
            position, part = dataset.position(key), slice(z, z + 1)
            for target in self.targets:
                _has_target(position, target)
            source = position.read(list(self.predictions.spec.sources), t, part)
            yield source, position.read(list(self.targets), t, part)
            progress.advance()

    def _masks(self, truth: Array) -> Masks:
        return {name: _foreground(truth) if name == "foreground" else None for name in self.settings.masks}


def _trained_on(predictions: Predictions) -> str:
    dataset = predictions.spec.training.get("dataset")
    if isinstance(dataset, str) and dataset:
        return dataset
    rule = "does not say which dataset it was trained on"
    raise DatasetError("model", predictions.spec.name or predictions.run, rule, "name the dataset to evaluate on")


def _split(predictions: Predictions, part: str) -> tuple[str, ...]:
    positions = predictions.spec.training.get("positions")
    return tuple(positions.get(part, ())) if isinstance(positions, Mapping) else ()


def _splits(predictions: Predictions, dataset: Dataset, workspace: Workspace) -> dict[str, str]:
    """Return each position's part in the training; none when another dataset was trained on."""
    try:
        if workspace.find_dataset(_trained_on(predictions)).resolve() != dataset.path.resolve():
            return {}
    except VstainError:
        return {}
    return {key: part for part in ("test", "validate", "train") for key in _split(predictions, part)}


def _planes(dataset: Dataset, keys: Sequence[str], most: int) -> list[tuple[str, int, int]]:
    """Return at most `most` (position, t, z), spread evenly over all there are."""
    if not keys:
        raise DatasetError("training positions", None, "the model does not name any", "train it again")
    places = [(key, *tz) for key in keys for tz in np.ndindex(*_times_and_slices(dataset.position(key)))]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [places[index] for index in chosen]


def _times_and_slices(position: Position) -> tuple[int, int]:
    return position.shape[0], position.shape[2]


def _has_target(position: Position, target: str) -> None:
    if target not in position.channels:
        rule = f"position {position.key} has {', '.join(position.channels)}, and no target to compare with"
        raise ChannelError("target channel", target, rule, "evaluate positions where the stain was imaged")


def _foreground(truth: Array) -> npt.NDArray[np.bool_]:
    """Return the pixels above the Otsu threshold of the volume; none when it is constant."""
    from skimage.filters import threshold_otsu

    values = truth[np.isfinite(truth)] if truth.dtype.kind == "f" else truth
    if not values.size or values.min() == values.max():
        return np.zeros(truth.shape, bool)
    return np.asarray(truth > threshold_otsu(values), bool)


def _why(score: Score) -> str:
    if score.metrics["mae"] != score.metrics["mae"]:
        return "no pixel is finite" if score.mask == "whole" else f"the {score.mask} has no finite pixel"
    if score.metrics["nrmse"] != score.metrics["nrmse"]:
        return "the target is constant"
    return (
        "the prediction is constant" if np.isnan(score.metrics["pearson"]) else "the image is smaller than the window"
    )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(shape[axis]) for axis in (0, 2, 3, 4))
