"""`vstain evaluate`: compare predictions with the real stain."""

from typing import TYPE_CHECKING

from napari_vstain.cli.terminal import Display, counted
from napari_vstain.cli.verb import StageVerb
from napari_vstain.core.evaluation import EvaluateResult, EvaluateSettings, run

if TYPE_CHECKING:
    import pandas as pd

_DESCRIPTION = """\
Compare an experiment's predictions with the real stain, position by position, and write metrics.csv.
Beside the model stands the trivial baseline, fitted on the training positions: what any model must beat.
"""
_EXAMPLES = """\
  vstain evaluate first                                     all positions that are predicted
  vstain evaluate first --positions B/03/0 --masks whole foreground
  vstain evaluate first --dataset others                    predictions of another dataset
"""
_METRICS = ("pearson", "ssim", "nrmse", "psnr", "mae")


def report(result: EvaluateResult, display: Display) -> None:
    """Show the mean of each metric over the positions, for the model and the baseline."""
    for warning in result.warnings:
        display.note(f"Careful: {warning}")
    title = f"Means over {counted(len(result.positions), 'position')}: {', '.join(result.positions[:6])}"
    display.table(title + (" …" if len(result.positions) > 6 else ""), *means(result.table))
    display.made({"metrics": result.metrics, "explained": result.readme, "settings": result.config})


def means(table: "pd.DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return columns and rows that say each target's metrics over whole volumes, model and baseline."""
    names = [name for name in _METRICS if name in table]
    keys = ["channel", "mask", "predictor"]
    whole = table[table["level"] == "volume"] if (table["level"] == "volume").any() else table
    averages = whole.groupby(keys, sort=False)[names].mean()
    rows = [[*key, *(f"{value:.4g}" for value in averages.loc[key])] for key in averages.index]
    return [*keys, *names], rows


VERB = StageVerb(
    settings=EvaluateSettings,
    stage=run,
    description=_DESCRIPTION,
    examples=_EXAMPLES,
    report=report,
    positional=("experiment",),
    short={"run": "-r", "dataset": "-d"},
    when_stopped="Stopped; nothing was written. Run the same command again.",
)
