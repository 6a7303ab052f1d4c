"""`vstain preprocess`: measure the intensities of each channel."""

from napari_vstain.cli.terminal import Display
from napari_vstain.cli.verb import StageVerb
from napari_vstain.core.left_out import outcome
from napari_vstain.core.preprocessing import PreprocessResult, PreprocessSettings, run

_DESCRIPTION = """\
Measure how bright each channel is, in the whole dataset and in every position.
Training and prediction bring all images to a common scale with these figures.
"""
_EXAMPLES = """\
  vstain preprocess cells                       all channels of the dataset `cells`
  vstain preprocess /data/plate.zarr            a plate that stays where it is
"""


def report(result: PreprocessResult, display: Display) -> None:
    """Show the intensities of each channel, and what had to be left out."""
    for sentence in result.warnings:
        display.note(sentence)
    display.note(outcome("Preprocessed", result.positions, result.left_out))
    rows = [
        [name, *(f"{value:.4g}" for value in (found.mean, found.std, found.median, found.iqr))]
        for name, found in result.statistics.items()
    ]
    display.table("Intensities", ["channel", "mean", "std", "median", "iqr"], rows)
    display.made({"dataset": result.dataset, "settings": result.config})


VERB = StageVerb(
    settings=PreprocessSettings,
    stage=run,
    description=_DESCRIPTION,
    examples=_EXAMPLES,
    report=report,
    positional=("dataset",),
    when_stopped="Stopped; nothing was stored. Run the same command again.",
)
