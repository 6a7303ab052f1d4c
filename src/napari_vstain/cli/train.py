"""`vstain train`: teach a network to predict stains from label-free images."""

import argparse
import math
from typing import Any

from napari_vstain.cli.options import chosen
from napari_vstain.cli.terminal import Display, counted
from napari_vstain.cli.verb import StageVerb, find_workspace
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings, load_config, resolve
from napari_vstain.core.training import TrainForm, TrainResult, TrainSettings
from napari_vstain.core.workspace import Workspace

_DESCRIPTION = """\
Teach a network to predict the target channels (stains) from the source channels (label-free).
Each training is a run of an experiment; logs and checkpoints go to models/<experiment>.
"""
_EXAMPLES = """\
  vstain train cells -e first --sources phase --targets nuclei membrane
  vstain train cells -e first --sources phase --targets nuclei --epochs 100 --preset unet_large
  vstain train -c models/first/training_config0.yml                         the same run again
  vstain train -c models/first/training_config0.yml --set trainer.max_epochs=5
  vstain train --resume first/version_0                                     go on where it was stopped or killed
"""


def _going_on(short: dict[str, Any], given: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the settings of the run that `--resume` names, with what may be changed of them."""
    refused = set(short) - {"resume", "experiment", "epochs", "threads"}
    if refused or given.config is not None:
        parser.error("--resume uses the run's own settings; change one by --set, such as --set trainer.max_epochs=50")
    experiment, _, name = str(short["resume"]).rpartition("/")
    chosen_run = find_workspace(given.workspace).experiment(experiment or short.get("experiment", "")).run(name)
    epochs = [f"trainer.max_epochs={short['epochs']}"] if "epochs" in short else []
    values = resolve(load_config(chosen_run.config), [*epochs, *given.overrides])
    threads = {"threads": short["threads"]} if "threads" in short else {}
    return {**values, **threads, "experiment": chosen_run.experiment.name, "resume": chosen_run.name}


class TrainVerb(StageVerb):
    """Takes the short form, or a whole file with `-c`."""

    @property
    def form(self) -> type[Settings]:
        """The short form."""
        return TrainForm

    def values(self, given: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
        """Return the values of the full settings: of the file, or of the form; `--set` is over either."""
        short = chosen(given)
        if short.get("resume"):
            return _going_on(short, given, parser)
        if given.config is None:
            self.ask_for_missing(short, parser)
            return resolve(TrainForm.parse(short).values(), given.overrides)
        if short:
            parser.error("with -c, change a setting by --set, such as --set trainer.max_epochs=5")
        return super().values(given, parser)

    def stopped(self, given: argparse.Namespace, kept: object, display: Display) -> None:
        """Show what was kept, and say how to go on."""
        super().stopped(given, kept, display)
        short = chosen(given)
        named = str(short.get("resume", "")).rpartition("/")[0] or short.get("experiment")
        name = named or (load_config(given.config, given.overrides)["experiment"] if given.config else "")
        runs = find_workspace(given.workspace).experiment(name).runs()
        if runs and runs[-1].last.is_file():
            from napari_vstain.core.training.resuming import how_to_go_on

            display.note(how_to_go_on(runs[-1]))

    def ask_for_missing(self, values: Any, parser: argparse.ArgumentParser) -> None:
        """Ask only when there is no file, which says itself what it lacks."""
        if "model" not in values:
            super().ask_for_missing(values, parser)


def run(settings: TrainSettings, workspace: Workspace, progress: Progress) -> TrainResult:
    """Train; only this loads Lightning, which takes ten seconds."""
    progress.phase("Loading Lightning")
    from napari_vstain.core.training import run as train

    return train(settings, workspace, progress)


def report(result: TrainResult, display: Display) -> None:
    """Show what the run reached, and where it is."""
    reached = "" if math.isnan(result.best_loss) else f"; lowest loss {result.best_loss:.4g}"
    display.note(f"{result.run.label}: {counted(result.epochs, 'epoch')}{reached}.")
    for sentence in result.remarks:
        display.note(sentence)
    split = result.spec.training.positions
    display.note(f"Positions: {split}.")
    for caution in split.cautions:
        display.note(f"Careful: {caution}")
    display.made({"checkpoint": result.checkpoint, "logs": result.run.folder, "settings": result.run.config})


VERB = TrainVerb(
    settings=TrainSettings,
    stage=run,
    description=_DESCRIPTION,
    examples=_EXAMPLES,
    report=report,
    positional=("dataset",),
    short={"experiment": "-e"},
    when_stopped="Stopped.",
)
