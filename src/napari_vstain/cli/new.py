"""`vstain new`: make a workspace."""

import argparse
from pathlib import Path
from shlex import quote

from napari_vstain.cli.terminal import Display
from napari_vstain.cli.verb import add_common_options, new_parser
from napari_vstain.core.workspace import Workspace

_DESCRIPTION = """\
Make a workspace: a folder with four folders in it.

  datasets/     your images, as OME-Zarr plates
  models/       trained networks and their logs
  evaluation/   predictions, corrected ground truth, metrics.csv
  deployment/   exported models
"""
_EXAMPLES = """\
  vstain new my-study
  cd my-study
"""


class _New:
    def parser(self, program: str) -> argparse.ArgumentParser:
        parser = new_parser(program, _DESCRIPTION, _EXAMPLES)
        parser.add_argument("folder", type=Path, help="the folder to make; what is there already stays")
        add_common_options(parser)
        return parser

    def run(self, given: argparse.Namespace, display: Display, parser: argparse.ArgumentParser) -> None:
        workspace = Workspace.create(given.folder)
        display.made({"workspace": workspace.root})
        display.note(f"Next: cd {quote(str(given.folder))}, then `vstain import`.")

    def stopped(self, given: argparse.Namespace, kept: object, display: Display) -> None:
        display.note("Stopped; run the same command again.")


VERB = _New()
