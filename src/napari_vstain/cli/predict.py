"""`vstain predict`: stain images with a trained model."""

from napari_vstain.cli.terminal import Display, counted, duration
from napari_vstain.cli.verb import StageVerb
from napari_vstain.core.inference import PredictResult, PredictSettings, run
from napari_vstain.core.left_out import outcome

_DESCRIPTION = """\
Predict the stains of a dataset with a trained model, in the stain's own intensity units.
After a stop or a crash the same command goes on where it was; nothing is computed twice.
"""
_EXAMPLES = """\
  vstain predict cells -e first                            every position, newest run of experiment `first`
  vstain predict cells -e first --positions B/03/0 B/03/1
  vstain predict cells -e first --existing overwrite       compute again what is there
  vstain predict cells -e first --init                     only make the store, for many processes to fill
  vstain predict /data/plate.zarr -e other --model model.onnx
"""


def report(result: PredictResult, display: Display) -> None:
    """Show what was predicted, by what, and what to be careful with; or what it will take, if nothing was."""
    for warning in result.warnings:
        display.note(f"Careful: {warning}")
    by = f" by {result.model}" if result.model else ""
    if result.forecasts:
        rows = [
            [one.position, f"{one.megapixels:.1f}", f"{one.memory_bytes / 2**30:.1f}", duration(one.seconds)]
            for one in result.forecasts
        ]
        title = f"Made for {counted(len(rows), 'position')}{by}; {result.engine} takes about"
        display.table(title, ["position", "Mpx", "GB of memory", "time"], rows)
        display.made({"predictions": result.store, "positions": result.listing, "settings": result.config})
        return
    said = outcome("Predicted", result.positions, result.left_out)
    display.note(f"{said} {result.megapixels:.1f} Mpx now{by}, with {result.engine}.")
    tiffs = {"OME-TIFF": result.tiffs[0].parent} if result.tiffs else {}
    display.made({"predictions": result.store, **tiffs, "settings": result.config})


VERB = StageVerb(
    settings=PredictSettings,
    stage=run,
    description=_DESCRIPTION,
    examples=_EXAMPLES,
    report=report,
    positional=("dataset",),
    short={"experiment": "-e", "run": "-r", "model": "-m"},
    when_stopped="Stopped; what is finished is kept. Run the same command again to go on.",
)
