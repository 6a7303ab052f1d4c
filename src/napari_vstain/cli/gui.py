"""`vstain gui`: napari with the Virtual Staining workbench open."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from napari_vstain.cli.terminal import Display
from napari_vstain.cli.verb import add_common_options, add_workspace_option, find_workspace, new_parser
from napari_vstain.core.errors import DatasetError, DependencyError, WorkspaceError
from napari_vstain.core.session import Opened
from napari_vstain.core.workspace import Workspace

PLUGIN, DOCK = "napari-vstain", "Workbench"
_DESCRIPTION = "Open napari with the Virtual Staining workbench: open, train, predict, evaluate and export by mouse."
_EXAMPLES = """\
  vstain gui                          with the workspace of this folder, if it is one
  vstain gui plate.zarr               open a plate too
"""
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


class _Gui:
    def parser(self, program: str) -> argparse.ArgumentParser:
        parser = new_parser(program, _DESCRIPTION, _EXAMPLES)
        parser.add_argument("images", nargs="*", type=Path, help="plates or images to open")
        add_workspace_option(parser)
        add_common_options(parser)
        return parser

    def run(self, given: argparse.Namespace, display: Display, parser: argparse.ArgumentParser) -> None:
        check_installed()
        workspace = _workspace(given.workspace)
        for path in given.images:
            if not path.exists():
                raise DatasetError("image", path, "is not there", "check the path")
        if sys.platform == "win32":
            import_module("torch")  # on Windows torch's libraries do not load any more once Qt's are
        open_window(workspace, given.images)

    def stopped(self, given: argparse.Namespace, kept: object, display: Display) -> None:
        display.note("Closed.")


def check_installed() -> None:
    """Raise DependencyError unless napari and a Qt binding are installed."""
    what = "napari" if find_spec("napari") is None else "a Qt binding"
    if find_spec("napari") is None or not any(find_spec(name) for name in _BINDINGS):
        raise DependencyError(what, None, "is not installed", "run `pip install 'napari-vstain[all]'`")


def open_window(workspace: Workspace | None, images: Sequence[Path]) -> None:
    """Show the window with the workspace and the images open; return when it is closed."""
    napari: Any = import_module("napari")
    viewer = napari.Viewer()
    _, workbench = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    if workspace is not None and any(
        path.suffix == ".zarr" for path in images
    ):  # what is named is shown, not the workspace's own dataset
        workbench.context.session.adopt(Opened(workspace, None))
    elif workspace is not None:
        workbench.steps[0].section.open(workspace.root)
    for path in images:
        viewer.open(str(path), plugin=PLUGIN if path.suffix == ".zarr" else None)
    napari.run()


def _workspace(named: Path | None) -> Workspace | None:
    """Return the workspace that is named, else the one of the current folder, if it is in one."""
    try:
        return find_workspace(named)
    except WorkspaceError:
        if named is not None:
            raise
        return None


VERB = _Gui()
