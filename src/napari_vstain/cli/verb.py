"""A verb: how it is called on the command line, what it runs, and what it says at the end."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from napari_vstain.cli.options import add_options, chosen, missing
from napari_vstain.cli.running import run_shown
from napari_vstain.cli.terminal import MODES, Display
from napari_vstain.core.errors import WorkspaceError
from napari_vstain.core.overrides import merged
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings, load_config, resolve
from napari_vstain.core.workspace import Workspace


class Verb(Protocol):
    """What the program asks of a verb."""

    def parser(self, program: str) -> argparse.ArgumentParser:
        """Return the parser of the verb's own arguments."""

    def run(self, given: argparse.Namespace, display: Display, parser: argparse.ArgumentParser) -> None:
        """Do it; errors are raised."""

    def stopped(self, given: argparse.Namespace, kept: object, display: Display) -> None:
        """Say after Ctrl-C what is there and how to go on."""


@dataclass(frozen=True)
class StageVerb:
    """A verb that runs one stage of the work from its settings."""

    settings: type[Settings]
    stage: Callable[[Any, Workspace, Progress], Any]
    description: str
    examples: str
    report: Callable[[Any, Display], None]
    """Shows a result at the end."""
    positional: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    when_stopped: str = "Stopped; run the same command again to start over."

    @property
    def form(self) -> type[Settings]:
        """What the options are made from: the stage's settings, unless a verb has a shorter form of them."""
        return self.settings

    def parser(self, program: str) -> argparse.ArgumentParser:
        """Return a parser with an option for each setting, and those that all stages share."""
        parser = new_parser(program, self.description, self.examples)
        parser.usage = " ".join([program, *(name.upper() for name in self.positional), "[settings]"])
        add_options(parser, self.form, self.positional, self.short, self.hidden)
        add_stage_options(parser)
        add_common_options(parser)
        return parser

    def run(self, given: argparse.Namespace, display: Display, parser: argparse.ArgumentParser) -> None:
        """Run the stage in the workspace."""
        values = self.values(given, parser)
        workspace = find_workspace(given.workspace)
        settings = self.settings.parse(values)
        result = run_shown(lambda progress: self.stage(settings, workspace, progress), parser.prog, display)
        display.close()
        self.report(result, display)

    def values(self, given: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, Any]:
        """Return the settings as the file, the options and `--set` give them, each over the one before."""
        values = settings_values(given)
        self.ask_for_missing(values, parser)
        return values

    def ask_for_missing(self, values: Mapping[str, Any], parser: argparse.ArgumentParser) -> None:
        """End with a usage error when something has no default and no value."""
        if names := missing(self.form, values):
            parser.error(f"give {' and '.join(self._spelled(name) for name in names)}")

    def stopped(self, given: argparse.Namespace, kept: object, display: Display) -> None:
        """Show what was kept, and say how to go on."""
        if kept is not None:
            self.report(kept, display)
        display.note(self.when_stopped)

    def _spelled(self, name: str) -> str:
        return name.upper() if name in self.positional else f"--{name.replace('_', '-')}"


def new_parser(program: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser whose help ends in examples."""
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"Examples:\n{examples}" if examples else None,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add what every verb takes."""
    group = parser.add_argument_group("every verb")
    group.add_argument("--progress", choices=MODES, default="auto", help="how progress is shown (default: auto)")
    group.add_argument("--debug", action="store_true", help="show the whole traceback of an error")


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """Add what every stage takes: the workspace, and settings from a file."""
    group = parser.add_argument_group("every stage")
    add_workspace_option(group)
    group.add_argument("-c", "--config", type=Path, metavar="FILE", help="do again what this settings file says")
    group.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the file, or one that has no option: --set trainer.max_epochs=5",
    )


def add_workspace_option(group: Any) -> None:
    """Add ``-w``."""
    group.add_argument(
        "-w",
        "--workspace",
        type=Path,
        metavar="FOLDER",
        help="the workspace (default: this folder, or the nearest above it that is one)",
    )


def settings_values(given: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the settings file, of the options, and of `--set`, each over the one before."""
    values = merged(load_config(given.config, given.overrides) if given.config else {}, chosen(given))
    return resolve(values, given.overrides) if given.overrides and not given.config else values


def find_workspace(folder: Path | None) -> Workspace:
    """Return the workspace at `folder`, else the nearest one at or above the current folder.

    Raises
    ------
    WorkspaceError
        When there is none.
    """
    if folder is not None:
        return Workspace.open(folder)
    here = Path.cwd()
    for candidate in (here, *here.parents):
        if Workspace.is_one(candidate):
            return Workspace.open(candidate)
    rule = "is no workspace, and no folder above it is"
    raise WorkspaceError("folder", here, rule, "make one with `vstain new FOLDER`, or name one with -w FOLDER")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with room for long option names."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
