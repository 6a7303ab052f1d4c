"""Data: open a workspace or an OME-Zarr, go from position to position, say what is predicted from what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QWidget,
)

from napari_vstain.core.files import cache_folder
from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Opened, open_path
from napari_vstain.core.workspace import Workspace
from napari_vstain.widgets.desk import Desk
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.layers.book import Origin
from napari_vstain.widgets.layers.positions import Picture, read_pictures, show_pictures
from napari_vstain.widgets.platemap import PlateMap
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.style import note, shrinkable
from napari_vstain.widgets.threads import Latest, spread
from napari_vstain.widgets.wording import arrow, count

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset, Position

_EMPTY = (
    "Nothing is open. Open an OME-Zarr plate or image, or a workspace; "
    "or try <b>Open ▸ Sample plate</b> first. Only predicting on an open image? Go on to Predict."
)
_ROLES = ("–", "source", "target")


class DataSection(Section):
    """What is open, where we are in it, and the role of each channel."""

    title = "Data"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._opening = Latest()
        self._loading = Latest()
        self.roles: dict[str, QComboBox] = {}
        self._dropped: list[Any] = []
        self._wait_for_more = QTimer(self)
        self._wait_for_more.setSingleShot(True)
        self._wait_for_more.setInterval(0)
        self._wait_for_more.timeout.connect(self._open_dropped)
        self._build()
        self.hear(self.session.workspace_changed, self._show_datasets)
        self.hear(self.session.dataset_changed, self._show_dataset)
        self.hear(self.session.position_changed, self._show_position)
        self.hear(self.session.channels_changed, self._show_roles)
        self.tie(desk.viewer.layers.events.inserted, self._greet)
        self._attach()

    # What a click asks for

    def open(self, path: Path | str) -> None:
        """Open a workspace or an OME-Zarr, and show its first position; the window stays free meanwhile."""
        self._busy(f"Opening {Path(path).name}…", lambda progress: open_path(path, self.session.workspace))

    def open_sample(self) -> None:
        """Make the simulated sample plate, in a workspace of its own, and open it."""
        self._busy("Making the sample plate…", make_sample)

    def new_workspace(self, path: Path | str) -> None:
        """Create a workspace; an open dataset is registered in it."""
        dataset = self.session.dataset
        self._busy("Creating the workspace…", lambda progress: create_workspace(Path(path), dataset))

    def show_layers(self) -> None:
        """Load the open position as layers."""
        session = self.session
        dataset, position, sources, targets = session.open_dataset, session.position, session.sources, session.targets
        if position is None:
            return
        self.say(Condition.BUSY, f"Loading {position.key}…")
        self.call(
            lambda progress: read_pictures(dataset, position, sources, targets, progress),
            self._loading.ask(self._show_pictures),
        )

    def _greet(self, event: Any) -> None:
        """Open the dataset of an image that our reader put on the canvas: a plate was dropped there."""
        said = event.value.metadata.get("vstain") or {}
        if "path" not in said or self.desk.book.origin(event.value) is not None:
            return
        self._dropped.append(event.value)
        self._wait_for_more.start()

    def _open_dropped(self) -> None:
        """Adopt the layers that came together, and their dataset unless it is open already."""
        layers, self._dropped = self._dropped, []
        path = layers[0].metadata["vstain"]["path"]
        for layer in layers:
            said = layer.metadata["vstain"]
            self.desk.book.enter(layer, Origin("source", said["channel"], said["path"], said["position"]))
        if self.session.dataset is None or str(self.session.dataset.path) != path:
            self._busy(
                f"Opening {Path(path).name}…",
                lambda progress: open_path(path, self.session.workspace),
                lambda opened: self._opened_dropped(opened, layers),
            )

    def _opened_dropped(self, opened: Opened, layers: list[Any]) -> None:
        self.session.adopt(opened)
        self.session.choose_position(layers[0].metadata["vstain"]["position"])
        for layer in layers:
            origin = self.desk.book.origin(layer)
            if origin is not None and origin.channel in self.session.targets:
                self.desk.book.enter(layer, replace(origin, kind="target"))
        self._describe()

    # What came of it

    def _busy(
        self, message: str, function: Callable[[Progress], Opened], then: Callable[[Opened], None] | None = None
    ) -> None:
        self.settle()
        self.say(Condition.BUSY, message)
        self.where.setText(message)
        self.call(function, self._opening.ask(then or self._opened))

    def _opened(self, opened: Opened) -> None:
        self.session.adopt(opened)
        self._describe()
        if opened.dataset is not None:
            self.attempt(self.show_layers)

    def complain(self, error: BaseException | str) -> None:
        """Show what went wrong, and what is still open."""
        self._describe()
        super().complain(error)

    def _show_pictures(self, pictures: list[Picture]) -> None:
        steps = show_pictures(self.desk.viewer, self.desk.book, pictures)
        spread(self, self._loading.whole(steps), then=self._describe)

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
        for widget in (self.plate, self.back, self.on, self.fields):
            widget.setVisible(several)
        self._rebuild_roles(dataset.channels)
        self._describe()

    def _show_position(self, position: "Position") -> None:
        self.plate.set_current(position.key)
        well = position.key.rsplit("/", 1)[0]
        fields = [key for key in self.session.open_dataset.positions if key.rsplit("/", 1)[0] == well]
        self.fields.blockSignals(True)
        self.fields.clear()
        self.fields.addItems(fields)
        self.fields.setCurrentText(position.key)
        self.fields.blockSignals(False)
        keys = list(self.session.open_dataset.positions)
        self.back.setEnabled(keys.index(position.key) > 0)
        self.on.setEnabled(keys.index(position.key) < len(keys) - 1)
        self._describe()

    def _show_roles(self, sources: tuple[str, ...], targets: tuple[str, ...]) -> None:
        for channel, combo in self.roles.items():
            combo.blockSignals(True)
            combo.setCurrentText("source" if channel in sources else "target" if channel in targets else "–")
            combo.blockSignals(False)
        self._describe()

    def _describe(self) -> None:
        session = self.session
        dataset = session.dataset
        self.empty.setVisible(dataset is None)
        self.channels_box.setVisible(dataset is not None)
        self.load.setVisible(dataset is not None)
        self.save_in.setVisible(dataset is not None and session.workspace is None)
        if dataset is None:
            name = session.workspace.root.name if session.workspace else ""
            self.where.setText(f"Workspace {name}: no dataset yet. Import images with `vstain import`." if name else "")
            self.where.setVisible(bool(name))
            self.say(Condition.WAITING, name or "open an image")
            return
        self.where.setVisible(True)
        self.where.setText(f"<b>{dataset.path.name}</b> · {count(len(dataset.positions), 'position')}")
        self.where.setToolTip(str(dataset.path))
        key = session.position.key if session.position else ""
        self.load.setText(f"Show {key}")
        complete = bool(session.sources and session.targets)
        done = Condition.DONE if complete else Condition.READY
        self.say(done, f"{key} · {arrow(session.sources, session.targets)}")

    # The widgets

    def _build(self) -> None:
        self.opener = QPushButton("Open  ▾")
        self.opener.setMenu(self._menu())
        self.opener.setStyleSheet("QPushButton::menu-indicator { image: none; } QPushButton { padding: 5px 12px; }")
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
        self._build_steps()
        self._build_channels()
        self.load = QPushButton("Show")
        self.load.setToolTip("Load this position's channels as layers; those of the former position are put away.")
        self.column.addWidget(self.load)
        self.save_in = QPushButton("Create a workspace for it…")
        self.save_in.setToolTip("Training, evaluation and export keep their files in a workspace folder.")
        self.column.addWidget(self.save_in)
        self.column.addWidget(self.problem)
        for widget in (self.plate, self.back, self.on, self.fields, self.load, self.save_in, self.channels_box):
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

    def _build_steps(self) -> None:
        self.back, self.on = QToolButton(), QToolButton()
        for button, text, tip in ((self.back, "◀", "Former position"), (self.on, "▶", "Next position")):
            button.setText(text)
            button.setToolTip(tip)
        self.fields = shrinkable(QComboBox())
        self.fields.setToolTip("The fields of this well")
        self.row(self.back, self.fields, self.on, stretch=1)

    def _build_channels(self) -> None:
        self.channels_box = QWidget()
        self._grid = QGridLayout(self.channels_box)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(0, 1)
        self.column.addWidget(self.channels_box)

    def _rebuild_roles(self, channels: tuple[str, ...]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            item.widget().deleteLater()
        self.roles = {}
        for row, channel in enumerate(channels):
            combo = QComboBox()
            combo.addItems(_ROLES)
            combo.setToolTip("source: what is predicted from; target: the stain that is predicted")
            combo.currentTextChanged.connect(self._choose_roles)
            self._grid.addWidget(QLabel(channel), row, 0)
            self._grid.addWidget(combo, row, 1)
            self.roles[channel] = combo

    def _connect(self) -> None:
        self.datasets.currentTextChanged.connect(self._choose_dataset)
        self.plate.chosen.connect(lambda key: self.attempt(lambda: self._go(key)))
        self.fields.currentTextChanged.connect(lambda key: self.attempt(lambda: self._go(key)))
        self.back.clicked.connect(lambda: self.attempt(lambda: self._step(-1)))
        self.on.clicked.connect(lambda: self.attempt(lambda: self._step(1)))
        self.load.clicked.connect(lambda: self.attempt(self.show_layers))
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
            self.attempt(lambda: then(Path(chosen)))

    def _choose_dataset(self, name: str) -> None:
        if self.session.workspace is not None and (self.session.dataset is None or name != self.session.dataset.name):
            workspace = self.session.workspace
            self._busy(f"Opening {name}…", lambda progress: open_path(workspace.dataset(name), workspace))

    def _choose_roles(self) -> None:
        chosen = {channel: combo.currentText() for channel, combo in self.roles.items()}
        sources = [channel for channel, role in chosen.items() if role == "source"]
        targets = [channel for channel, role in chosen.items() if role == "target"]
        self.attempt(lambda: self.session.choose_channels(sources, targets))

    def _go(self, key: str) -> None:
        self.session.choose_position(key)
        self.show_layers()

    def _step(self, step: int) -> None:
        self.session.step_position(step)
        self.show_layers()


class DataDock(SectionDock):
    """The Data section in a dock of its own."""

    section_class = DataSection


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
    from napari_vstain.core.data import simulate_plate

    workspace = Workspace.create(cache_folder("sample"))
    if not workspace.dataset_names():
        progress.phase("Simulating cells")
        simulate_plate(workspace.new_dataset("sample"), seed=0)
    return open_path(workspace.root)
