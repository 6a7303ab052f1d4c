"""The contract that the five stages share: one frozen Settings, one `run`, a Result."""

from pathlib import Path
from typing import Protocol, TypeVar

from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.workspace import Workspace

S = TypeVar("S", bound=Settings, contravariant=True)
R = TypeVar("R", covariant=True)


class Stage(Protocol[S, R]):
    """``run(settings, workspace, progress) -> Result``: what command line, dock and cluster call.

    A stage resolves its settings, so that each has its value, and saves them beside its result, one file a result:
    ``-c`` with it gives the same result, whatever was done since. It checks the progress's token
    between batches or tiles, and raises `Cancelled(kept=Result)` after it saved what it had.
    """

    def __call__(self, settings: S, workspace: Workspace, progress: Progress) -> R: ...


def config_path(folder: Path, stage: str) -> Path:
    """Return where a stage saves its settings in the folder of its result."""
    return folder / f"{stage}_config.yml"
