"""Stage 4: compare predictions with the targets they predict, beside the trivial baseline, in ``metrics.csv``."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.data import Dataset, open_dataset
from napari_vstain.core.evaluation.columns import describe_columns
from napari_vstain.core.evaluation.comparing import Comparison
from napari_vstain.core.evaluation.outdated import outdated_units, what_went, without_units
from napari_vstain.core.evaluation.predicted_stores import Predictions, find_predictions
from napari_vstain.core.evaluation.seen_pixels import SeenPixels
from napari_vstain.core.evaluation.settings import EvaluateSettings
from napari_vstain.core.evaluation.strips import available_cores
from napari_vstain.core.evaluation.table import read_table, to_table, write_table
from napari_vstain.core.evaluation.trained_on import parts_of, trained_on
from napari_vstain.core.groundtruth import GroundTruth
from napari_vstain.core.left_out import LeftOut, check_left_out
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EvaluateResult", "EvaluateSettings", "run"]


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
    """One sentence for each value that is not defined."""
    left_out: tuple[LeftOut, ...] = ()
    """Positions that could not be evaluated."""
    model: str = ""
    """What predicted: a run, ``experiment/version_0``, or what a model of none is called."""


def run(settings: EvaluateSettings, workspace: Workspace, progress: Progress) -> EvaluateResult:
    """Compute the metrics, then write the experiment's ``metrics.csv``, ``metrics.README`` and ``metrics.yml``.

    Nothing is written before all is computed. One time point of one position is held in memory at a time.

    Raises
    ------
    Cancelled
        When it was stopped; nothing was written.
    ChannelError
        When no position has a target to compare with.
    DatasetError
        When nothing is predicted yet, or no position can be evaluated; with `strict`, when one of them cannot.
    StorageError
        When the folder takes no data.
    """
    progress.phase("Finding the predictions")
    experiment = workspace.experiment(settings.experiment)
    predictions = find_predictions(workspace, experiment, settings.run, settings.model, settings.dataset)
    dataset = open_dataset(workspace.find_dataset(settings.dataset or trained_on(predictions)), workspace)
    keys, left_out = predictions.positions(settings.positions, dataset)
    splits = parts_of(predictions, dataset, workspace)
    evaluation = Comparison(
        settings, experiment, predictions, dataset, left_out, splits, GroundTruth(experiment.groundtruth).verdicts()
    )
    keys = evaluation.usable(keys)
    check_left_out(len(keys), left_out, settings.strict)
    evaluation.fit(workspace, progress)
    rows = evaluation.rows(keys, progress)
    done = tuple(dict.fromkeys(row.position for row in rows))
    check_left_out(len(done), left_out, settings.strict)
    table = to_table(rows)
    config = experiment.metrics.with_suffix(".yml")
    _resolved(settings, workspace, predictions, dataset, done).save(config)
    seen = SeenPixels(experiment.evaluation / ".metrics.json", dataset)
    seen.note(evaluation.compared)
    rows_before = _others(experiment.metrics, table, predictions, done)
    outdated = outdated_units(rows_before, predictions, dataset, seen, progress)
    write_table(table, experiment.metrics, describe_columns(settings.metrics), partial(without_units, units=outdated))
    seen.save()
    return EvaluateResult(
        experiment.metrics,
        experiment.metrics.with_suffix(".README"),
        config,
        table,
        done,
        (*evaluation.warnings, *what_went(outdated)),
        tuple(left_out),
        experiment.run(predictions.run).label if predictions.run else predictions.spec.name or _stem(settings.model),
    )


def _stem(model: Path | None) -> str:
    return model.stem if model else ""


def _others(metrics: Path, table: "pd.DataFrame", predictions: Predictions, done: tuple[str, ...]) -> "pd.DataFrame":
    """Return the rows that are there and are not replaced by the new ones; none if they are of other metrics."""
    known = read_table(metrics) if metrics.is_file() else table.iloc[:0]
    if list(known.columns) != list(table.columns):
        return table.iloc[:0]
    return known[~((known["run"] == predictions.run) & known["position"].isin(done))]


def _resolved(
    settings: EvaluateSettings, workspace: Workspace, predictions: Predictions, dataset: Dataset, done: tuple[str, ...]
) -> EvaluateSettings:
    """Return the settings with a value for all that depends on what is on disk."""
    found = {
        "run": predictions.run,
        "model": settings.model and settings.model.expanduser().absolute(),
        "dataset": workspace.name_of(dataset.path),
        "positions": done,
        "threads": settings.threads or available_cores(),
    }
    return settings.model_copy(update=found)
