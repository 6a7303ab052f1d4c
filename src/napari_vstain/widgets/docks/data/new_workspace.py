"""What is opened from the dock without being there yet: a new workspace, the sample plate."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.files import cache_folder
from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Opened, open_path
from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset


def create_workspace(path: Path, dataset: "Dataset | None") -> Opened:
    """Create a workspace, register `dataset` in it, and return both."""
    from napari_vstain.core.data import open_dataset

    workspace = Workspace.create(path)
    if dataset is None:
        return open_path(path)
    name = workspace.link_dataset(dataset.path)
    return Opened(workspace, open_dataset(workspace.dataset(name), workspace))


def make_sample(progress: Progress) -> Opened:
    """Make the simulated sample plate in a workspace among the user's caches, once, and open it."""
    from napari_vstain.core.simulation import simulate_plate

    workspace = Workspace.create(cache_folder("sample"))
    if not workspace.dataset_names():
        simulate_plate(workspace.new_dataset("sample"), seed=0, progress=progress)
    return open_path(workspace.root)
