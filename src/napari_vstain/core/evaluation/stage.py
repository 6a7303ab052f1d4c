"""Stage 4: compare predictions with the targets they predict, beside the trivial baseline, in ``metrics.csv``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.data import open_dataset
from napari_vstain.core.evaluation.comparing import Comparison
from napari_vstain.core.evaluation.definitions import describe
from napari_vstain.core.evaluation.predictions import find_predictions, verdicts
from napari_vstain.core.evaluation.settings import EvaluateSettings
from napari_vstain.core.evaluation.table import to_table, write_table
from napari_vstain.core.evaluation.training import parts_of, trained_on
from napari_vstain.core.progress import Progress
from napari_vstain.core.stages import config_path
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
    predictions = find_predictions(workspace, experiment, settings.run, settings.model, settings.dataset)
    dataset = open_dataset(workspace.find_dataset(settings.dataset or trained_on(predictions)), workspace)
    keys, warnings = predictions.positions(settings.positions, dataset.positions)
    splits = parts_of(predictions, dataset, workspace)
    evaluation = Comparison(settings, experiment, predictions, dataset, warnings, splits, verdicts(experiment))
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
