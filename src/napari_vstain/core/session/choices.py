"""What is open and what is chosen, for scripts and docks alike; whoever wants to know listens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_vstain.core.errors import ChannelError, DatasetError, ModelError, WorkspaceError
from napari_vstain.core.experiments import Run
from napari_vstain.core.session.open_models import Model, model_at, runs_of
from napari_vstain.core.session.opening import Opened, guess_roles, open_path
from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset, Position
    from napari_vstain.core.models.split import Split


class Choices:
    """Workspace, dataset, position, channels and model.

    Change them from one thread (in a window, the main thread): the signals are emitted where they are changed.
    """

    workspace_changed = Signal(object)
    dataset_changed = Signal(object)
    position_changed = Signal(object)
    channels_changed = Signal(tuple, tuple)
    model_changed = Signal(object)
    images_changed = Signal()

    def __init__(self) -> None:
        self.workspace: Workspace | None = None
        self.dataset: Dataset | None = None
        self.position: Position | None = None
        self.sources: tuple[str, ...] = ()
        self.targets: tuple[str, ...] = ()
        self.model: Model | None = None
        self.images: dict[str, Hashable] = {}
        """Which open image a person chose for a source of a model, by the source's name: see `matching.OpenImage`."""
        self.preselected = False
        """True while nobody chose the model: it gives way to the one of another workspace."""

    def open(self, path: Path | str) -> Opened:
        """Open a workspace, or an OME-Zarr, and make it this session's; blocks while it is read."""
        opened = open_path(path, self.workspace)
        self.adopt(opened)
        return opened

    def adopt(self, opened: Opened, position: str = "") -> None:
        """Make what was opened this session's, the likely channels and a position chosen: the first, or the named."""
        if opened.workspace != self.workspace and opened.workspace is not None:
            self.workspace = opened.workspace
            self.workspace_changed.emit(self.workspace)
        if opened.dataset is not None:
            self._adopt_dataset(opened.dataset, position)

    def choose_position(self, key: str) -> None:
        """Make a position of the dataset the open one.

        Raises
        ------
        ChannelError
            When the dataset has none of that name.
        """
        position = self.open_dataset.position(key)
        if self.position is None or position.key != self.position.key:
            self.position = position
            self.position_changed.emit(position)

    def step_position(self, step: int) -> None:
        """Go `step` positions on, at most to the first or the last."""
        keys = list(self.open_dataset.positions)
        at = keys.index(self.position.key) if self.position else 0
        self.choose_position(keys[min(max(at + step, 0), len(keys) - 1)])

    def choose_channels(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Say which channels are predicted from, and which are predicted.

        Raises
        ------
        ChannelError
            When the dataset has no such channel, or one is both.
        """
        known = self.open_dataset.channels
        for name in (*sources, *targets):
            if name not in known:
                raise ChannelError("channel", name, f"the dataset has {', '.join(known)}", "choose one of these")
        if both := set(sources) & set(targets):
            raise ChannelError("channel", min(both), "cannot be source and target at once", "choose one role")
        self.sources, self.targets = tuple(sources), tuple(targets)
        self.channels_changed.emit(self.sources, self.targets)

    def choose_image(self, source: str, key: Hashable) -> None:
        """Say which open image is a source of a model, here and at every other position."""
        self.images[source] = key
        self.images_changed.emit()

    def choose_model(self, model: Model | None, *, preselected: bool = False) -> None:
        """Make a model the one that predicts; a `preselected` one nobody has asked for."""
        self.preselected = preselected and (self.preselected or model != self.model)
        if model != self.model:
            self.model = model
            self.model_changed.emit(model)

    def runs(self) -> list[Run]:
        """Return the runs of the workspace that have a checkpoint, newest first; reads folders."""
        return [] if self.workspace is None else runs_of(self.workspace)

    @property
    def model_stays(self) -> bool:
        """True if somebody chose the model, and it is of no other workspace than the open one."""
        if self.model is None or self.preselected:
            return False
        run = self.model.run
        return run is None or (self.workspace is not None and run.experiment.root == self.workspace.root)

    def split(self) -> Split:
        """Return the split of the dataset's positions that a training uses unless it is told otherwise."""
        from napari_vstain.core.training.splits import propose_split

        return propose_split(tuple(self.open_dataset.positions))

    def split_of(self, run: Run) -> Split | None:
        """Return the split that a run was trained with, from its model; None if it is of another dataset than the open.

        Reads a checkpoint: not for the main thread of a window.
        """
        dataset, workspace = self.open_dataset, self.open_workspace
        spec = model_at(run.checkpoint, run).spec
        trained_on = spec.training.dataset
        try:
            elsewhere = bool(trained_on) and workspace.find_dataset(trained_on).resolve() != dataset.path.resolve()
        except WorkspaceError:  # what it was trained on is gone
            elsewhere = True
        return None if elsewhere else spec.training.positions

    @property
    def open_dataset(self) -> Dataset:
        """The dataset; DatasetError when none is open."""
        if self.dataset is None:
            raise DatasetError("dataset", None, "none is open", "open a workspace or an OME-Zarr first")
        return self.dataset

    @property
    def open_workspace(self) -> Workspace:
        """The workspace; WorkspaceError when none is open."""
        if self.workspace is None:
            raise WorkspaceError("workspace", None, "none is open", "open or create one first")
        return self.workspace

    @property
    def open_model(self) -> Model:
        """The model; ModelError when none is chosen."""
        if self.model is None:
            raise ModelError("model", None, "none is chosen", "choose a run or a model file")
        return self.model

    def _adopt_dataset(self, dataset: Dataset, position: str) -> None:
        self.dataset, self.position = dataset, None
        self.sources, self.targets = guess_roles(dataset.channels)
        self.dataset_changed.emit(dataset)
        self.channels_changed.emit(self.sources, self.targets)
        if dataset.positions:
            self.choose_position(position if position in dataset.positions else next(iter(dataset.positions)))
