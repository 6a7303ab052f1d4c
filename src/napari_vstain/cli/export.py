"""`vstain export`: write the model as ONNX, to use anywhere."""

from napari_vstain.cli.terminal import Display
from napari_vstain.cli.verb import StageVerb
from napari_vstain.core.deployment import ExportResult, ExportSettings, run

_DESCRIPTION = """\
Write a trained model as one ONNX file that holds all that is needed to predict, and a model card.
The file is compared with the original network before it is kept.
"""
_EXAMPLES = """\
  vstain export first                                  newest run of experiment `first`
  vstain export first --run version_0 --name nuclei --licence CC-BY-4.0
"""


def report(result: ExportResult, display: Display) -> None:
    """Show where the file is, and how far it is from the original."""
    for warning in result.warnings:
        display.note(f"Careful: {warning}")
    error = result.max_abs_error_rel
    said = f"{error:.1e} of the output's spread" if error else "no more than the last digit"
    display.note(f"Exported {result.run.label}. Largest difference from the original: {said}.")
    display.made({"ONNX": result.onnx, "model card": result.readme, "settings": result.config})


VERB = StageVerb(
    settings=ExportSettings,
    stage=run,
    description=_DESCRIPTION,
    examples=_EXAMPLES,
    report=report,
    positional=("experiment",),
    short={"run": "-r"},
    when_stopped="Stopped; nothing was written. Run the same command again.",
)
