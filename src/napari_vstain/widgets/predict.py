"""Predict: one button fills the open field with the predicted stain, tile by tile, from what is looked at outward."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from weakref import ref

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QWidget,
)

from napari_vstain.core.inference.augment import Augmentation, uncertainties
from napari_vstain.core.inference.cells import Area
from napari_vstain.core.inference.elsewhere import Elsewhere, Lacking, lacking
from napari_vstain.core.inference.stage import PredictSettings
from napari_vstain.core.inference.streaming import Unlike
from napari_vstain.core.jobs import FinishReason, Job, JobStatus
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.session import Caveat, Engaged, Live, Model, Spacing, load_model
from napari_vstain.core.workspace import Run
from napari_vstain.widgets.bar import Bar
from napari_vstain.widgets.choosing import choose_positions
from napari_vstain.widgets.compat import axes_of, bind_key, camera_of, full_resolution
from napari_vstain.widgets.desk import Desk
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.fold import Fold
from napari_vstain.widgets.foreign import ForeignForm
from napari_vstain.widgets.forms import SettingsForm
from napari_vstain.widgets.layers.flip import flip
from napari_vstain.widgets.layers.geometry import spacing_um
from napari_vstain.widgets.layers.matching import candidates, match
from napari_vstain.widgets.layers.predictions import Canvases
from napari_vstain.widgets.layers.view import drawn_rectangle, seen
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.style import WRONG, note, primary, shrinkable
from napari_vstain.widgets.threads import Latest, outcome_error
from napari_vstain.widgets.trust import Trust
from napari_vstain.widgets.wording import arrow, count, progress_line

Scope = Literal["field", "view", "region"]
PREDICT_KEY, FLIP_KEY = "G", "H"
FIELDS = ("engine", "device", "precision", "augment")
LOOK_MS = 150
"""How long the camera must rest before the order of the tiles follows it."""


class PredictSection(Section):
    """A model, the open images it takes, and the button."""

    title = "Predict"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.job: Job[Any] | None = None
        self._live: Live | None = None
        self._canvases: Canvases | None = None
        self._image: Any = None
        self._listing, self._loading = Latest(), Latest()
        self.inputs: dict[str, QComboBox] = {}
        self._told: dict[Path, Elsewhere] = {}
        self._build()
        for signal in (self.session.workspace_changed, self.session.runs_changed):
            self.hear(signal, self._list_runs)
        for signal in (self.session.dataset_changed, self.session.position_changed):
            self.hear(signal, self._describe)
        self.hear(self.session.model_changed, self._show_model)
        self._watch(desk.viewer)
        self._list_runs()
        self._show_model(self.session.model)

    # What a click asks for

    def start(self, scope: Scope = "field") -> None:
        """Predict the open field, what is on the canvas, or the drawn region."""
        why = self._why_not()
        if self.job is not None or why:
            self.complain(why or "A prediction is running: stop it first.")
            return
        viewer, images = self.desk.viewer, self._chosen()
        self._image = images[0]
        spec = augmented(self.session.open_model.spec, self.form.values())
        self._canvases = self.desk.predictions.canvases(viewer, self.desk.book, spec, self._image)
        view = Area(*seen(self.desk.viewer, self._image))
        where = view if scope == "view" else Area(*self._drawn()) if scope == "region" else Area()
        arrays = [full_resolution(image) for image in images]
        self._live = self.session.stream(
            arrays, axes_of(self._image), self._canvases.outputs, view, where,
            spacing_um=self._spacing_um(), resample=self.trust.resample, **self.form.values(),
        )  # fmt: skip
        self._follow(self._live.job, self._finish_live)

    def start_by_key(self) -> None:
        """Predict the open field because its key was pressed."""
        self.attempt(self.start)

    def start_batch(self, positions: tuple[str, ...]) -> None:
        """Predict whole positions into the workspace."""
        if positions:
            resample = {"resample": True} if self.trust.resample else {}
            self._follow(self.session.predict(positions, **resample, **self.form.values()), self._finish_batch)

    def use_file(self, path: Path) -> None:
        """Predict with a checkpoint or an ONNX file; what one made elsewhere does not say is asked for."""
        if path in self._told:
            self.use_foreign(path, self._told[path])
            return
        self.settle()
        self.foreign.setVisible(False)
        self.call(lambda progress: lacking(path) or load_model(path), self._loading.ask(self._read_file))

    def use_foreign(self, path: Path, elsewhere: Elsewhere) -> None:
        """Predict with a model that was made elsewhere, now that it is said what it takes and gives."""
        self.settle()
        self.foreign.setEnabled(False)

        def refuse(error: BaseException) -> None:
            self.foreign.setEnabled(True)
            self.complain(error)

        then = self._loading.ask(self._read_file)
        load = self.desk.pump.call
        load(self.session, lambda progress: load_model(path, None, elsewhere), then, refuse, self)

    def _read_file(self, found: Model | Lacking) -> None:
        self.foreign.setEnabled(True)
        if isinstance(found, Lacking):
            self.foreign.ask(found)
        else:
            self._chose_model(found)

    # While it runs

    def _follow(self, job: Job[Any], finish: Any) -> None:
        self.settle()
        self.trust.clear()
        self.job = job
        self._describe()
        self.bar.show_progress(0, None)
        self.bar.setVisible(True)
        self.result.setVisible(True)
        self.result.setText("Loading the model…")
        self.stop.setEnabled(True)
        self.stop.setText("Stop")
        self.say(Condition.BUSY, "predicting")
        self.desk.pump.listen(job, self, progressed=self._reflect, produced=self._take, finished=finish)

    def _reflect(self, status: JobStatus) -> None:
        text = progress_line(status)
        self.result.setText(text)
        self.bar.show_progress(status.done, status.total)
        self.say(Condition.BUSY, text)

    def _take(self, item: Any) -> None:
        if isinstance(item, Engaged):
            self.engine.setText(f"{item.engine} · {item.device} · {item.precision}")
            self.engine.setVisible(True)
        elif isinstance(item, Unlike):
            self.trust.say(*item.warnings)
        elif isinstance(item, Caveat):
            self.trust.say(f"The prediction is not exact: {item.sentence}.")
        elif self._canvases is not None:
            self._canvases.ask()

    def _look(self) -> None:
        """Tell the stream what is looked at now."""
        if self._live is not None:
            self._live.look_at(Area(*seen(self.desk.viewer, self._image)))

    def _moved(self, event: object = None) -> None:
        if self._live is not None:
            self._rest.start()

    def _finish_live(self, status: JobStatus) -> None:
        job, canvases = self.job, self._canvases
        self._live = self._canvases = self._image = None
        if canvases is not None:
            canvases.finish()
        self._finish(status, "kept what is there")
        if status.reason is FinishReason.COMPLETED and job is not None:
            pixels = f"{status.total:.3g} Mpx" if status.total else ""
            speed = f", {status.rate:.3g} Mpx/s" if status.rate else ""
            self.result.setText(f"Predicted {pixels}{speed}. Hold {FLIP_KEY} to see the target instead.")
            self.say(Condition.DONE, ", ".join(self.session.open_model.spec.targets))

    def _finish_batch(self, status: JobStatus) -> None:
        job = self.job
        self._finish(status, "kept the positions that are done")
        if status.reason is FinishReason.COMPLETED and job is not None:
            result = job.result()
            self.result.setText(f"Saved {count(len(result.positions), 'position')} in {Path(result.store).name}.")
            self.result.setToolTip(str(result.store))
            self.say(Condition.DONE, f"{count(len(result.positions), 'position')} saved")
            if result.warnings:
                self.trust.say(*result.warnings)

    def _finish(self, status: JobStatus, kept: str) -> None:
        job, self.job = self.job, None
        self.bar.setVisible(False)
        self._describe()
        if status.reason is FinishReason.FAILED and job is not None:
            self.result.setVisible(False)
            self.complain(outcome_error(job))
        elif status.reason is FinishReason.CANCELLED:
            self.result.setText(f"Stopped: {kept}.")
            self.say(Condition.READY, "stopped")

    def _halt(self) -> None:
        if self.job is not None:
            self.job.stop()
            self.stop.setEnabled(False)
            self.stop.setText("Stopping… (finishing tile)")

    # What is chosen

    def _chosen(self) -> list[Any]:
        return [combo.currentData() for combo in self.inputs.values()]

    def _spacing_um(self) -> Spacing | None:
        """Return the voxel size of the first image that is chosen, if its units are lengths."""
        image = next((layer for layer in self._chosen() if layer is not None), None)
        return None if image is None else spacing_um(image, axes_of(image))

    def _drawn(self) -> tuple[slice, slice, slice, slice]:
        from napari.layers import Shapes

        from napari_vstain.core.errors import DatasetError

        shapes = [layer for layer in self.desk.viewer.layers if isinstance(layer, Shapes)]
        if not shapes:
            raise DatasetError("region", None, "nothing is drawn", "add a Shapes layer and draw a rectangle")
        active = self.desk.viewer.layers.selection.active
        return slice(None), slice(None), *drawn_rectangle(active if active in shapes else shapes[-1], self._image)

    def _list_runs(self, *_: object) -> None:
        if self.session.workspace is not None:
            self.call(lambda progress: self.session.runs(), self._listing.ask(self._show_runs))

    def _show_runs(self, runs: list[Run]) -> None:
        self.models.blockSignals(True)
        self.models.clear()
        for run in runs:
            self.models.addItem(f"{run.experiment.name}/{run.name}", run)
        self.models.blockSignals(False)
        self._show_model(self.session.model)
        if runs and (self.session.model is None or self.session.model.run is not None):
            self._choose_run(0)

    def _choose_run(self, index: int) -> None:
        run = self.models.itemData(index)
        if isinstance(run, Run):
            self.settle()
            self.models.setCurrentIndex(index)
            self.call(lambda progress: load_model(run.checkpoint, run), self._loading.ask(self._chose_model))
        elif isinstance(run, Path):
            self.use_file(run)

    def _chose_model(self, model: Model) -> None:
        self.foreign.setVisible(False)
        if model.elsewhere is not None:
            self._told[model.path] = model.elsewhere
        self.session.choose_model(model)
        self._show_model(model)

    def _show_model(self, model: Model | None) -> None:
        if model is not None:
            data = model.run or model.path
            places = [at for at in range(self.models.count()) if self.models.itemData(at) == data]
            self.models.blockSignals(True)
            if not places:
                self.models.addItem(model.name, data)
            self.models.setCurrentIndex(places[0] if places else self.models.count() - 1)
            self.models.blockSignals(False)
            self.models.setToolTip(str(model.path))
        self._rebuild_inputs(model.spec.sources if model else ())
        self._describe()

    def _rebuild_inputs(self, sources: tuple[str, ...]) -> None:
        if tuple(self.inputs) != sources:
            while (item := self._grid.takeAt(0)) is not None:
                item.widget().deleteLater()
            self.inputs = {}
            for row, source in enumerate(sources):
                combo = shrinkable(QComboBox())
                combo.currentIndexChanged.connect(self._describe)
                self._grid.addWidget(QLabel(source), row, 0)
                self._grid.addWidget(combo, row, 1)
                self.inputs[source] = combo
        self._match()

    def _match(self, *_: object) -> None:
        """Offer the open images, and choose those that match; a choice that still holds stays."""
        viewer = self.desk.viewer
        layers = candidates(viewer, self.desk.book)
        guesses = match(tuple(self.inputs), layers, self.desk.book, viewer.layers.selection.active)
        for combo, guess in zip(self.inputs.values(), guesses, strict=True):
            kept = combo.currentData() if combo.currentData() in layers and combo.property("by_user") else guess
            combo.blockSignals(True)
            combo.clear()
            for layer in layers:
                combo.addItem(layer.name, layer)
            combo.setCurrentIndex(layers.index(kept) if kept in layers else -1)
            combo.blockSignals(False)
        self._describe()

    # What it says

    def _describe(self, *_: object) -> None:
        running = self.job is not None
        why = self._why_not()
        model = self.session.model
        self.expects.setText(_expectation(model) if model else "")
        self.expects.setVisible(model is not None)
        self.go.setVisible(not running)
        self.more.setVisible(not running)
        self.stop.setVisible(running)
        self.go.setEnabled(not why)
        self.go.setToolTip(why or self._key_hint)
        self.hint.setText(why)
        self.hint.setVisible(bool(why) and not running)
        self._mark_inputs()
        self.trust.regard((model, *self._chosen()), model.spec if model else None, self._spacing_um())
        batch = model is not None and self.session.workspace is not None and self.session.dataset is not None
        for action in self._batch_actions:
            action.setEnabled(batch)
        if not running and self.now.condition in (Condition.WAITING, Condition.READY):
            self.say(Condition.WAITING if why else Condition.READY, model.name if model else "")

    def _why_not(self) -> str:
        model = self.session.model
        if model is None:
            return "Choose a model: a checkpoint or an ONNX file, or train one."
        if not candidates(self.desk.viewer, self.desk.book):
            return "Open an image: any Image layer will do."
        chosen = self._chosen()
        missing = [source for source, layer in zip(self.inputs, chosen, strict=True) if layer is None]
        if missing:
            return f"Say which open image is {missing[0]}."
        if len({full_resolution(layer).shape for layer in chosen}) > 1:
            return "The source images differ in size: choose images of one field."
        return next(iter(self.form.problems.values()), "")

    def _mark_inputs(self) -> None:
        shapes = [full_resolution(layer).shape for layer in self._chosen() if layer is not None]
        for combo in self.inputs.values():
            layer = combo.currentData()
            wrong = layer is None or (full_resolution(layer).shape != shapes[0])
            combo.setStyleSheet(WRONG if wrong else "")
            combo.setToolTip("Choose an image of the same size as the others." if wrong else "")

    # The widgets

    def _watch(self, viewer: Any) -> None:
        """Follow the viewer's layers and camera, and take our keys, until this section is gone."""
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(LOOK_MS)
        self._rest.timeout.connect(self._look)
        self._key_hint = "Predicts the whole open field, what you look at first."
        layers, dims, camera = viewer.layers.events, viewer.dims.events, camera_of(viewer).events
        for event in (layers.inserted, layers.removed, layers.reordered):
            self.tie(event, self._match)
        for event in (dims.current_step, camera.center, camera.zoom):
            self.tie(event, self._moved)
        taken = bind_key(viewer, PREDICT_KEY, _later(self, "start_by_key"))
        bind_key(viewer, FLIP_KEY, flipper(self.desk))
        if taken:
            self.go.setText("Predict this FOV")
            self._key_hint += f" (The key {PREDICT_KEY} is taken: {taken}.)"

    def _build(self) -> None:
        self.models = shrinkable(QComboBox())
        self.models.setPlaceholderText("no model yet")
        self.file = QPushButton("File…")
        self.file.setToolTip("Choose a checkpoint (.ckpt) or an ONNX file (.onnx).")
        self.row(QLabel("Model"), self.models, self.file, stretch=1)
        self.foreign = ForeignForm(self.use_foreign)
        self.column.addWidget(self.foreign)
        self.expects = note()
        self.column.addWidget(self.expects)
        box = QWidget()
        self._grid = QGridLayout(box)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self.column.addWidget(box)
        self._build_buttons()
        self.hint = note()
        self.column.addWidget(self.hint)
        self.bar = Bar()
        self.bar.setVisible(False)
        self.column.addWidget(self.bar)
        self.result = note()
        self.result.setVisible(False)
        self.column.addWidget(self.result)
        self.column.addWidget(self.problem)
        self.trust = Trust()
        self.column.addWidget(self.trust)
        self.engine = note()
        self.engine.setVisible(False)
        self.column.addWidget(self.engine)
        self.form = SettingsForm(PredictSettings, FIELDS)
        self.column.addWidget(Fold("Settings", self.form))
        self.file.clicked.connect(self._ask_file)
        self.models.activated.connect(self._choose_run)
        self.form.changed.connect(self._describe)

    def _build_buttons(self) -> None:
        self.go = primary(f"Predict this FOV   ({PREDICT_KEY})")
        self.more = QToolButton()
        self.more.setText("▾")
        self.more.setToolTip("Predict something else")
        self.more.setMinimumHeight(36)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; } QToolButton { padding: 0 10px; }")
        self.more.setMenu(self._menu())
        self.stop = QPushButton("Stop")
        self.stop.setMinimumHeight(36)
        self.stop.setVisible(False)
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.go, 1)
        line.addWidget(self.more)
        line.addWidget(self.stop, 1)
        self.column.addLayout(line)
        self.go.clicked.connect(lambda: self.attempt(self.start))
        self.stop.clicked.connect(self._halt)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction("Predict what I see", lambda: self.attempt(lambda: self.start("view")))
        menu.addAction("Predict the drawn region", lambda: self.attempt(lambda: self.start("region")))
        menu.addSeparator()
        self._batch_actions = [
            menu.addAction("Predict this FOV and save it in the workspace", lambda: self.attempt(self._batch_this)),
            menu.addAction("Predict selected positions…", lambda: self.attempt(self._batch_selected)),
            menu.addAction("Predict all positions", lambda: self.attempt(self._batch_all)),
        ]
        return menu

    def _batch_this(self) -> None:
        if self.session.position is not None:
            self.start_batch((self.session.position.key,))

    def _batch_selected(self) -> None:
        self.start_batch(choose_positions(self, list(self.session.open_dataset.positions)))

    def _batch_all(self) -> None:
        self.start_batch(tuple(self.session.open_dataset.positions))

    def _ask_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose a model", "", "Models (*.ckpt *.onnx)")
        if chosen:
            self.attempt(lambda: self.use_file(Path(chosen)))


class PredictDock(SectionDock):
    """The Predict section in a dock of its own."""

    section_class = PredictSection


def augmented(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    """Return a model's spec with the outputs that flips and rotations add, if they are asked for."""
    if options.get("augment", Augmentation.NONE) is Augmentation.NONE:
        return spec
    return spec.model_copy(update={"outputs": (*spec.outputs, *uncertainties(spec))})


def flipper(desk: Desk) -> Callable[[Any], Iterator[None]]:
    """Return what the flip key does: on press and, after its yield, on release."""
    book = desk.book

    def flip_prediction(viewer: Any) -> Iterator[None]:
        yield from flip(viewer, book)

    return flip_prediction


def _later(section: Section, method: str) -> Callable[[Any], None]:
    """Return a key's function that calls a method of a section while it lives."""
    reference = ref(section)

    def predict_this_field(viewer: Any) -> None:
        living = reference()
        if living is not None:
            getattr(living, method)()

    return predict_this_field


def _expectation(model: Model) -> str:
    """Return what a model takes and gives: ``Phase → Nuclei · 2D · trained at 0.108 µm``."""
    spec = model.spec
    scale = f" · trained at {spec.spacing_um[2]:.3g} µm" if spec.spacing_um else ""
    return f"{arrow(spec.sources, spec.targets)} · {spec.dimensions}{scale}"
