"""Data: open a workspace or an OME-Zarr, go from position to position, say what is predicted from what."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QMenu, QPushButton

from napari_vstain.core.workspace import Workspace
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.docks.data.new_workspace import create_workspace, make_sample
from napari_vstain.widgets.docks.data.platemap import PlateMap
from napari_vstain.widgets.docks.data.position_steps import Steps
from napari_vstain.widgets.docks.data.roles import Roles
from napari_vstain.widgets.kit.style import as_role, note, shrinkable
from napari_vstain.widgets.kit.text import arrow, count
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.viewer_context import ViewerContext

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset, Position

_EMPTY = (
    "Nothing is open. Open an OME-Zarr plate or image, or a workspace; "
    "or try <b>Open ▸ Sample plate</b> first. Only predicting on an open image? Go on to Predict."
)


class DataSection(Section):
    """What is open, where we are in it, and the role of each channel."""

    title = "Data"

    def __init__(self, context: ViewerContext) -> None:
        super().__init__(context)
        self._build()
        self.connect_session(self.session.workspace_changed, self._show_datasets)
        self.connect_session(self.session.dataset_changed, self._show_dataset)
        self.connect_session(self.session.position_changed, self._show_position)
        self.connect_session(self.session.position_changed, context.opener.follow)
        self.connect_session(self.session.channels_changed, self._show_roles)
        self._attach()

    # What a click asks for

    def open(self, path: Path | str) -> None:
        """Open a workspace or an OME-Zarr, and show its first position; the window stays free meanwhile."""
        self.context.opener.open(path)

    def open_sample(self) -> None:
        """Make the simulated sample plate, in a workspace of its own, and open it."""
        self.context.opener.run("Making the sample plate…", make_sample)

    def new_workspace(self, path: Path | str) -> None:
        """Create a workspace; an open dataset is registered in it."""
        dataset = self.session.dataset
        self.context.opener.run("Creating the workspace…", lambda progress: create_workspace(Path(path), dataset))

    def show_layers(self) -> None:
        """Load the open position as layers."""
        self.context.opener.show()

    # What came of it

    def _begin(self, message: str) -> None:
        self.clear_error()
        self.set_state(Condition.BUSY, message)
        if self.session.dataset is None:
            self.where.setText(message)
            self.where.setVisible(True)

    def show_error(self, error: BaseException | str) -> None:
        """Show what went wrong, and what is still open."""
        self._describe()
        super().show_error(error)

    def _show_datasets(self, workspace: Workspace) -> None:
        names = workspace.dataset_names()
        self.datasets.blockSignals(True)
        self.datasets.clear()
        self.datasets.addItems(names)
        self.datasets.blockSignals(False)
        self._show_row(self.datasets, len(names) > 1)

    def _show_dataset(self, dataset: "Dataset") -> None:
        self.datasets.setCurrentText(dataset.name)
        self.plate.set_positions(list(dataset.positions))
        several = len(dataset.positions) > 1
        self.plate.setVisible(several)
        self.steps.setVisible(several)
        self.roles.set_channels(dataset.channels)
        self._describe()

    def _show_position(self, position: "Position") -> None:
        self.plate.set_current(position.key)
        self.steps.set_position(position.key, list(self.session.open_dataset.positions))
        self._describe()

    def _show_roles(self, sources: tuple[str, ...], targets: tuple[str, ...]) -> None:
        self.roles.set_roles(sources, targets)
        self._describe()

    def _describe(self) -> None:
        session = self.session
        dataset = session.dataset
        self.empty.setVisible(dataset is None)
        self.roles.setVisible(dataset is not None)
        self.load.setVisible(dataset is not None)
        self.save_in.setVisible(dataset is not None and session.workspace is None)
        if dataset is None:
            name = session.workspace.root.name if session.workspace else ""
            self.where.setText(f"Workspace {name}: no dataset yet. Import images with `vstain import`." if name else "")
            self.where.setVisible(bool(name))
            self.set_state(Condition.WAITING, name or "open an image")
            return
        self.where.setVisible(True)
        self.where.setText(f"<b>{dataset.path.name}</b> · {count(len(dataset.positions), 'position')}")
        self.where.setToolTip(str(dataset.path))
        key = session.position.key if session.position else ""
        self.load.setText(f"Show {key}")
        complete = bool(session.sources and session.targets)
        done = Condition.DONE if complete else Condition.READY
        self.set_state(done, f"{key} · {arrow(session.sources, session.targets)}")

    # The widgets

    def _build(self) -> None:
        self.opener = QPushButton("Open  ▾")
        self.opener.setMenu(self._menu())
        as_role(self.opener, "menu")
        self.where = note()
        self.row(self.opener, self.where, stretch=1)
        self.empty = note(_EMPTY)
        self.column.addWidget(self.empty)
        self.datasets = shrinkable(QComboBox())
        self._form = QFormLayout()
        self._form.addRow("Dataset", self.datasets)
        self.column.addLayout(self._form)
        self._show_row(self.datasets, False)
        self.plate = PlateMap()
        self.column.addWidget(self.plate)
        self.steps = Steps()
        self.column.addWidget(self.steps)
        self.roles = Roles()
        self.column.addWidget(self.roles)
        self.load = QPushButton("Show")
        self.load.setToolTip("Load this position's channels as layers; those of the former position are put away.")
        self.column.addWidget(self.load)
        self.save_in = QPushButton("Create a workspace for it…")
        self.save_in.setToolTip("Training, evaluation and export keep their files in a workspace folder.")
        self.column.addWidget(self.save_in)
        self.column.addWidget(self.problem)
        for widget in (self.plate, self.steps, self.roles, self.load, self.save_in):
            widget.setVisible(False)
        self._connect()

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction("OME-Zarr plate or image…", lambda: self._ask("Open an OME-Zarr", self.open))
        menu.addAction("Workspace…", lambda: self._ask("Open a workspace", self.open))
        menu.addAction("New workspace…", lambda: self._ask("Choose a folder for the workspace", self.new_workspace))
        menu.addSeparator()
        menu.addAction("Sample plate (simulated)", self.open_sample)
        return menu

    def _connect(self) -> None:
        opener = self.context.opener
        self.datasets.currentTextChanged.connect(self._choose_dataset)
        self.plate.chosen.connect(lambda key: self.guarded(lambda: opener.go(key)))
        self.steps.chosen.connect(lambda key: self.guarded(lambda: opener.go(key)))
        self.steps.stepped.connect(lambda step: self.guarded(lambda: opener.step(step)))
        self.roles.chosen.connect(lambda *roles: self.guarded(lambda: self.session.choose_channels(*roles)))
        opener.began.connect(self._begin)
        opener.failed.connect(self.show_error)
        for signal in (opener.opened, opener.shown):
            signal.connect(self._describe)
        self.load.clicked.connect(lambda: self.guarded(self.show_layers))
        self.save_in.clicked.connect(lambda: self._ask("Choose a folder for the workspace", self.new_workspace))

    def _attach(self) -> None:
        """Show what the session already has: another dock may have opened it."""
        session = self.session
        if session.workspace is not None:
            self._show_datasets(session.workspace)
        if session.dataset is not None:
            self._show_dataset(session.dataset)
            self._show_roles(session.sources, session.targets)
        if session.position is not None:
            self._show_position(session.position)
        self._describe()

    def _show_row(self, widget: Any, visible: bool) -> None:
        widget.setVisible(visible)
        self._form.labelForField(widget).setVisible(visible)

    def _ask(self, title: str, then: Callable[[Path], None]) -> None:
        chosen = QFileDialog.getExistingDirectory(self, title)
        if chosen:
            self.guarded(lambda: then(Path(chosen)))

    def _choose_dataset(self, name: str) -> None:
        if self.session.workspace is not None and (self.session.dataset is None or name != self.session.dataset.name):
            workspace = self.session.workspace
            self.context.opener.open(workspace.dataset(name))


class DataDock(SectionDock):
    """The Data section in a dock of its own."""

    section_class = DataSection
