"""`vstain demo`: the whole work once, on a simulated plate, with a picture to judge it by."""

import argparse
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from napari_vstain.cli.evaluate import show_means
from napari_vstain.cli.options import add_options, chosen
from napari_vstain.cli.picture import Panel, limits_of, save_picture
from napari_vstain.cli.running import run_shown
from napari_vstain.cli.terminal import Display
from napari_vstain.cli.verb import add_common_options, new_parser
from napari_vstain.core.errors import WorkspaceError
from napari_vstain.core.experiments import Experiment
from napari_vstain.core.files import writing
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.workspace import FOLDERS, Workspace

if TYPE_CHECKING:
    import pandas as pd

NAME, SOURCE, TARGETS = "demo", "Phase", ("Nuclei", "Membrane")
WELLS = ("A/1", "B/2")
_MARKER = "demo_config.yml"
_DESCRIPTION = """\
Show the whole work once: simulate a plate of cells, train a network to predict their nuclei and
membranes from the phase image, predict positions it has not seen, compare, and export it as ONNX.
The images are simulated: the figures say that the software works, not how well it does on yours.
"""
_EXAMPLES = """\
  vstain demo                         into ./vstain-demo, about two minutes on two cores
  vstain demo here --epochs 40        longer, and better
  vstain gui -w vstain-demo           look at the result in napari
"""


class DemoSettings(Settings):
    """How large the demo is."""

    seed: int = Field(0, ge=0, title="Seed", description="The same seed gives the same cells and the same network.")
    fields: int = Field(4, ge=3, le=96, title="Fields", description="Positions in each of the two wells.")
    size_px: int = Field(512, ge=64, le=4096, title="Size", description="Height and width of a position, in pixels.")
    epochs: int = Field(12, ge=1, title="Epochs", description="How long to train.")

    def positions(self, fields: Iterable[int]) -> tuple[str, ...]:
        """Return the positions of these field numbers in both wells."""
        return tuple(f"{well}/{field}" for well in WELLS for field in fields)

    @property
    def train(self) -> tuple[str, ...]:
        """All but the last two fields of each well."""
        return self.positions(range(self.fields - 2))

    @property
    def validate_on(self) -> tuple[str, ...]:
        """The last but one field of each well."""
        return self.positions([self.fields - 2])

    @property
    def unseen(self) -> tuple[str, ...]:
        """The last field of each well."""
        return self.positions([self.fields - 1])


@dataclass(frozen=True)
class DemoResult:
    """What the demo made."""

    workspace: Workspace
    plate: Path
    checkpoint: Path
    predictions: Path
    metrics: Path
    table: "pd.DataFrame"
    onnx: Path
    picture: Path


class _Demo:
    def parser(self, program: str) -> argparse.ArgumentParser:
        parser = new_parser(program, _DESCRIPTION, _EXAMPLES)
        parser.add_argument("folder", nargs="?", type=Path, default=Path("vstain-demo"), help="default: vstain-demo")
        parser.add_argument("--overwrite", action="store_true", help="delete an earlier demo in that folder first")
        add_options(parser, DemoSettings)
        add_common_options(parser)
        return parser

    def run(self, given: argparse.Namespace, display: Display, parser: argparse.ArgumentParser) -> None:
        settings = DemoSettings.parse(chosen(given))
        workspace = prepare_folder(given.folder, settings, overwrite=given.overwrite)
        result = run_shown(lambda progress: run_demo(settings, workspace, progress), "demo", display)
        display.close()
        report(result, display)

    def stopped(self, given: argparse.Namespace, kept: object, display: Display) -> None:
        display.note(f"Stopped. `vstain demo {quote(str(given.folder))} --overwrite` starts again.")


def prepare_folder(folder: Path, settings: DemoSettings, *, overwrite: bool) -> Workspace:
    """Return an empty workspace at `folder`, after removing an earlier demo if that was asked for.

    Raises
    ------
    WorkspaceError
        When something is there that is no demo, or one that may not be removed.
    """
    marker = folder / _MARKER
    if folder.is_dir() and any(folder.iterdir()):
        if not marker.is_file():
            raise WorkspaceError("folder", folder, "holds other things than a demo", "choose another folder")
        if not overwrite:
            raise WorkspaceError(
                "folder", folder, "holds an earlier demo", "add --overwrite to make it anew, or choose another folder"
            )
        _remove_demo(folder)
    workspace = Workspace.create(folder)
    settings.save(marker)
    return workspace


def run_demo(settings: DemoSettings, workspace: Workspace, progress: Progress) -> DemoResult:
    """Simulate, preprocess, train, predict, evaluate, export and draw."""
    from napari_vstain.core.deployment import ExportSettings
    from napari_vstain.core.deployment import run as export
    from napari_vstain.core.evaluation import EvaluateSettings
    from napari_vstain.core.evaluation import run as evaluate
    from napari_vstain.core.inference import PredictSettings
    from napari_vstain.core.inference import run as predict
    from napari_vstain.core.preprocessing import PreprocessSettings
    from napari_vstain.core.preprocessing import run as preprocess
    from napari_vstain.core.simulation import simulate_plate
    from napari_vstain.core.training import TrainSettings
    from napari_vstain.core.training import run as train

    path = workspace.new_dataset(NAME)
    plate = simulate_plate(path, settings.seed, WELLS, settings.fields, settings.size_px, progress=progress)
    preprocess(PreprocessSettings(dataset=plate.stem), workspace, progress)
    training = TrainSettings.quick(
        NAME,
        plate.stem,
        (SOURCE,),
        TARGETS,
        train=settings.train,
        validate=settings.validate_on,
        test=settings.unseen,
        epochs=settings.epochs,
        seed=settings.seed,
    )
    trained = train(training, workspace, progress)
    where = {"experiment": NAME, "dataset": plate.stem, "positions": settings.unseen}
    predicted = predict(PredictSettings.parse(where), workspace, progress)
    evaluated = evaluate(EvaluateSettings.parse(where), workspace, progress)
    exported = export(ExportSettings(experiment=NAME), workspace, progress)
    picture = workspace.root / "demo.png"
    draw_predictions(workspace.experiment(NAME), plate, settings.unseen, picture)
    return DemoResult(
        workspace,
        plate,
        trained.checkpoint,
        predicted.store,
        evaluated.metrics,
        evaluated.table,
        exported.onnx,
        picture,
    )


def draw_predictions(experiment: Experiment, plate: Path, positions: Iterable[str], path: Path) -> None:
    """Write a picture with a row for each target of each position: source, target, prediction."""
    from napari_vstain.core.data import open_dataset

    images, predictions = open_dataset(plate), open_dataset(experiment.predictions())
    rows = []
    for key in positions:
        for target in TARGETS:
            truth, guess = (
                np.asarray(dataset.position(key).read([name])[0, 0])
                for dataset, name in ((images, target), (predictions, f"{target}_prediction"))
            )
            source, scale = images.position(key).read([SOURCE])[0, 0], limits_of(truth)
            rows.append(
                (
                    Panel(f"{SOURCE} (simulated), {key}", source, limits_of(source)),
                    Panel(f"{target} (simulated)", truth, scale),
                    Panel(f"{target}, predicted", guess, scale),
                )
            )
    save_picture(path, rows)


def report(result: DemoResult, display: Display) -> None:
    """Show the metrics of the model and the trivial baseline, and what is where."""
    display.note("All images are simulated.")
    show_means(result.table, display)
    display.made(
        {
            "picture": result.picture,
            "plate": result.plate,
            "checkpoint": result.checkpoint,
            "predictions": result.predictions,
            "metrics": result.metrics,
            "ONNX": result.onnx,
        }
    )
    display.note(f"Next: look at it in napari with `vstain gui -w {result.workspace.root}`.")


def _remove_demo(folder: Path) -> None:
    with writing(folder):
        for name in FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=False)
        for name in ("demo.png", _MARKER):
            (folder / name).unlink(missing_ok=True)


VERB = _Demo()
