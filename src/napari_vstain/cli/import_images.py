"""`vstain import`: turn image files into a plate."""

from napari_vstain.cli.terminal import Display, counted
from napari_vstain.cli.verb import StageVerb
from napari_vstain.core.data.importing import ImportResult, ImportSettings, run_import
from napari_vstain.core.left_out import outcome

_DESCRIPTION = """\
Turn TIFF files into one dataset of the workspace, an OME-Zarr plate.
The pattern says which part of a file's name is the position and which the channel.
"""
_EXAMPLES = """\
  vstain import ~/images --name cells --pattern '{position}_{channel}.tif'
  vstain import ~/images --name cells --pattern '{position}_{channel}.tif' \\
      --channels ph=Phase dapi=Nuclei --spacing-um 1 0.325 0.325
  vstain import ~/images --name cells --pattern '{row}{column}/*_{channel}_{z}.tif' --register-to Phase
"""


def report(result: ImportResult, display: Display) -> None:
    """Show what was imported, and how far the channels lay apart."""
    for key, shifts in result.shifts_px.items():
        moved = ", ".join(f"{channel} by ({y}, {x}) px" for channel, (y, x) in shifts.items() if (y, x) != (0, 0))
        if moved:
            display.note(f"{key}: shifted {moved} (Y, X).")
    first, last = result.positions[0], result.positions[-1]
    named = first if first == last else f"{first} … {last}"
    for note in result.notes:
        display.note(f"Careful: {note}")
    if result.left_out:
        display.note(outcome("Imported", result.positions, result.left_out))
    title = f"Imported {counted(len(result.positions), 'position')}"
    display.table(title, ["positions", "channels"], [[named, ", ".join(result.channels)]])
    display.made({"dataset": result.dataset, "settings": result.config})


VERB = StageVerb(
    settings=ImportSettings,
    stage=run_import,
    description=_DESCRIPTION,
    examples=_EXAMPLES,
    report=report,
    positional=("source",),
    when_stopped="Stopped; nothing was written. Run the same command again.",
)
