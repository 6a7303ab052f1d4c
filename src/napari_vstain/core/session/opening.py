"""What a path turns out to be: a workspace, a store in one, or a store alone; and what its channels are likely for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset

_LABEL_FREE = re.compile(r"phase|bright|bf|dic|trans|label.?free|retardance|dark.?field|nomarski|hoffman", re.I)


@dataclass(frozen=True)
class Opened:
    """What a path turned out to be."""

    workspace: Workspace | None
    dataset: Dataset | None


def open_path(path: Path | str, workspace: Workspace | None = None) -> Opened:
    """Return what a path is: a workspace with its newest dataset, or an OME-Zarr, in a workspace or alone.

    Raises
    ------
    DatasetError, WorkspaceError
        When it is neither.
    """
    from napari_vstain.core.data import open_dataset

    place = Path(path).expanduser().absolute()
    if Workspace.is_one(place):
        found = Workspace.open(place)
        name = found.newest_dataset()
        return Opened(found, open_dataset(found.dataset(name), found) if name else None)
    home = _workspace_around(place) or workspace
    return Opened(home, open_dataset(place, home))


def guess_roles(channels: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return ``(sources, targets)``: label-free channels by their names, else the first, and all others."""
    names = tuple(channels)
    sources = tuple(name for name in names if _LABEL_FREE.search(name)) or names[:1]
    return sources, tuple(name for name in names if name not in sources)


def registered_name(workspace: Workspace, dataset: Dataset) -> str:
    """Return the name of a dataset in a workspace; one that lies elsewhere is linked first."""
    inside = dataset.path.parent == workspace.datasets
    return dataset.name if inside else workspace.link_dataset(dataset.path)


@contextmanager
def registered(workspace: Workspace, dataset: Dataset) -> Iterator[str]:
    """Give the name of a dataset in a workspace; one that lies elsewhere is linked first.

    When what is done with it fails, or is stopped and keeps nothing, the link is taken back: the workspace has come
    by no dataset then.
    """
    before = workspace.dataset_names()
    name = registered_name(workspace, dataset)
    try:
        yield name
    except BaseException as error:
        if name not in before and getattr(error, "kept", None) is None:
            (workspace.datasets / f"{name}.link").unlink(missing_ok=True)
        raise


def _workspace_around(store: Path) -> Workspace | None:
    root = store.parent.parent
    return Workspace.open(root) if store.parent.name == "datasets" and Workspace.is_one(root) else None
