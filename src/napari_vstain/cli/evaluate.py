"""`vstain evaluate`: compare predictions with the real stain."""

from typing import TYPE_CHECKING

from napari_vstain.cli.terminal import Display
from napari_vstain.cli.verb import StageVerb
from napari_vstain.core.evaluation import METRICS, EvaluateResult, EvaluateSettings, headlines, run, summarize
from napari_vstain.core.left_out import outcome

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


def report(result: EvaluateResult, display: Display) -> None:
    """Show the means by part of the split, the test first, then in one sentence what they are worth."""
    for warning in result.warnings:
        display.note(f"Careful: {warning}")
    said = outcome("Evaluated", result.positions, result.left_out)
    display.note(f"{said} Predicted by {result.model}." if result.model else said)
    show_means(result.table, display)
    display.made({"metrics": result.metrics, "explained": result.readme, "settings": result.config})


def show_means(table: "pd.DataFrame", display: Display) -> None:
    """Show a table of means, a row for each part, channel, mask and predictor, and a headline for each channel."""
    columns = ["positions", "channel", "mask", "predictor", *METRICS]
    rows = [
        [one.of, one.channel, one.mask, one.predictor, *(f"{one.metrics[name]:.4g}" for name in METRICS)]
        for one in summarize(table)
    ]
    display.table("Means", columns, rows)
    for headline in headlines(table):
        display.note(f"{'Careful: ' if headline.below_baseline or not headline.unseen else ''}{headline}.")


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
