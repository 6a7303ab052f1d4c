"""The Predict section: a model, the open images that it takes, and the button."""

from pathlib import Path
from typing import Any

from napari_vstain.core.inference.settings import PredictSettings
from napari_vstain.core.jobs import FinishReason, Job, JobStatus
from napari_vstain.core.session import JobKind, Model, PredictionNotes
from napari_vstain.widgets.compat import camera_of
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.docks.predict.buttons import Batch, RunButtons
from napari_vstain.widgets.docks.predict.chooser import ModelChooser
from napari_vstain.widgets.docks.predict.inputs import SourceInputs
from napari_vstain.widgets.docks.predict.keys import bind_keys
from napari_vstain.widgets.docks.predict.outcome import PredictionOutcome
from napari_vstain.widgets.kit.collapsible import Collapsible
from napari_vstain.widgets.kit.forms import SettingsForm
from napari_vstain.widgets.kit.positions_dialog import choose_positions
from napari_vstain.widgets.live_prediction import Scope
from napari_vstain.widgets.main_thread import outcome_error
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.viewer_context import ViewerContext

FIELDS = ("engine", "device", "precision", "augment", "threads", "tile_px")
"""What any prediction can be told."""
SAVED = ("ome_tiff", "strict", "z_step", "pixels_at_once")
"""What one of whole positions, into the workspace, can be told besides."""


class PredictSection(Section):
    """Starts predictions, and shows how the session's go."""

    title = "Predict"
    kind = JobKind.PREDICT

    def __init__(self, context: ViewerContext) -> None:
        super().__init__(context)
        self.live_prediction = context.live_prediction
        self._done: list[int] = []
        """What the last prediction that is done was of."""
        self._heard = 0
        """So much of what the job said of itself is shown."""
        self._build()
        self._connect()
        self._watch(context.viewer)
        self.chooser.list_runs()
        self._show_model(self.session.model)
        self.follow_jobs()

    # What a click asks for

    def start(self, scope: Scope = "field") -> None:
        """Predict the open field, what is on the canvas, or the drawn region."""
        why = self._why_not()
        if self.job is not None or why:
            self.show_error(why or "A prediction is running: stop it first.")
            return
        self.session.remember_model()
        how = {"spacing_um": self.inputs.spacing_um(), "resample": self.cautions.resample}
        self.live_prediction.start(self.inputs.chosen(), scope, self.form.values(), **how)

    def start_by_key(self) -> None:
        """Predict the open field because its key was pressed."""
        self.guarded(self.start)

    def start_batch(self, positions: tuple[str, ...]) -> None:
        """Predict whole positions into the workspace."""
        if positions and self.job is None:
            self.session.remember_model()
            resample = {"resample": True} if self.cautions.resample else {}
            self.session.predict(positions, **resample, **self.form.values(), **self.saved.values())

    def use_file(self, path: Path) -> None:
        """Predict with a checkpoint or an ONNX file; what a third-party one does not say is asked for."""
        self.chooser.use_file(path)

    def _positions(self, batch: Batch) -> tuple[str, ...]:
        keys = tuple(self.session.open_dataset.positions)
        if batch == "selected":
            return choose_positions(self, keys)
        here = self.session.position
        return keys if batch == "all" else (here.key,) if here else ()

    # What the session's prediction does

    def began(self, job: Job[Any]) -> None:
        """Show that something is predicted, and Stop."""
        self._heard = 0
        self.outcome.begin()
        self._describe()
        self.buttons.reflect_stop(stopping=False)
        self.set_state(Condition.BUSY, "predicting")

    def progressed(self, status: JobStatus) -> None:
        """Show how far it is, and of what."""
        job = self.job
        if job is not None:
            self._show_said(job)
            self.set_state(Condition.BUSY, self.outcome.reflect(status, str(job.asked.get("title", ""))))

    def ended(self, job: Job[Any], status: JobStatus) -> None:
        """Show what came of it."""
        self.outcome.end()
        self._show_said(job)
        live = "positions" not in job.asked
        if status.reason is FinishReason.FAILED:
            self.result.setVisible(False)
            self.show_error(outcome_error(job))
        elif status.reason is FinishReason.CANCELLED:
            self.outcome.stopped("kept what is there" if live else "kept the positions that are done")
            self.set_state(Condition.READY, "stopped")
        elif live:
            self.outcome.painted(status, str(job.asked.get("title", "")))
            self.set_state(Condition.DONE, ", ".join(job.asked.get("targets", ())))
        else:
            self.set_state(Condition.DONE, self.outcome.saved(job.result()))
        self._done = self._subject()
        self._describe()

    def forget(self) -> None:
        """Show nothing of what was predicted in another workspace."""
        self.outcome.clear()
        self._describe()

    def _show_said(self, job: Job[Any]) -> None:
        """Show what the job has said of itself since we looked last."""
        items = job.record.items if isinstance(job.record, PredictionNotes) else []
        for item in items[self._heard :]:
            self._take(item)
        self._heard = len(items)

    def _take(self, item: object) -> None:
        self.outcome.take(item)

    def _halt(self) -> None:
        if self.job is not None:
            self.job.stop()
            self.buttons.reflect_stop(stopping=True)

    # What it says

    def _show_model(self, model: Model | None) -> None:
        self.chooser.show_model(model)
        self.inputs.ask_for(model.spec.sources if model else ())

    def _describe(self, *_: object) -> None:
        why, model = self._why_not(), self.session.model
        batch = None not in (model, self.session.workspace, self.session.dataset)
        self.buttons.reflect(self.job is not None, why, batch)
        self.inputs.mark()
        self.outcome.offer_pair(self.context.contrast.pairs(self.context.viewer), self.context.contrast.linked)
        images = self.inputs.chosen()
        self.cautions.show_for((model, *images), model.spec if model else None, self.inputs.spacing_um())
        old = self.now.condition is Condition.DONE and self._done != self._subject()  # done, but of other images
        if self.job is None and (old or self.now.condition in (Condition.WAITING, Condition.READY)):
            self.set_state(Condition.WAITING if why else Condition.READY, model.name if model else "")

    def _subject(self) -> list[int]:
        """Return what tells the model and its images from others."""
        return [id(part) for part in (self.session.model, *self.inputs.chosen())]

    def _why_not(self) -> str:
        if self.session.model is None:
            return "Choose a model: a checkpoint or an ONNX file, or train one."
        return self.inputs.problem() or next(iter((self.form.problems | self.saved.problems).values()), "")

    def _link(self, wanted: bool) -> None:
        self.context.contrast.linked = wanted

    # The widgets

    def _build(self) -> None:
        self.chooser, self.inputs, self.buttons = ModelChooser(self.context), SourceInputs(self.context), RunButtons()
        self.outcome, self.form = PredictionOutcome(self.problem), SettingsForm(PredictSettings, FIELDS)
        self.saved = SettingsForm(PredictSettings, SAVED, more="Settings of whole positions")
        self.go, self.stop = self.buttons.go, self.buttons.stop
        self.result, self.cautions = self.outcome.result, self.outcome.cautions
        for part in (
            self.chooser,
            self.inputs,
            self.buttons,
            self.outcome,
            Collapsible("Settings", self.form),
            self.saved,
        ):
            self.column.addWidget(part)

    def _connect(self) -> None:
        self.connect_session(self.session.workspace_changed, self.chooser.list_runs)
        self.connect_session(self.session.runs_changed, self.chooser.list_new_runs)
        for signal in (self.session.dataset_changed, self.session.position_changed, self.session.channels_changed):
            self.connect_session(signal, self.inputs.match)
        self.connect_session(self.session.images_changed, self.inputs.match)
        self.connect_session(self.session.model_changed, self._show_model)
        self.chooser.asked.connect(self.clear_error)
        self.chooser.failed.connect(self.show_error)
        self.inputs.changed.connect(self._describe)
        self.form.changed.connect(self._describe)
        self.saved.changed.connect(self._describe)
        self.buttons.scope_wanted.connect(lambda scope: self.guarded(lambda: self.start(scope)))
        self.buttons.batch_wanted.connect(lambda batch: self.guarded(lambda: self.start_batch(self._positions(batch))))
        self.buttons.stop_wanted.connect(self._halt)
        self.outcome.link.clicked.connect(self._link)

    def _watch(self, viewer: Any) -> None:
        """Follow the viewer's layers and camera, and take our keys, until this section is gone."""
        layers, dims, camera = viewer.layers.events, viewer.dims.events, camera_of(viewer).events
        for event in (layers.inserted, layers.removed, layers.reordered, layers.renamed):
            self.connect_napari(event, self.inputs.match)
        for event in (dims.current_step, camera.center, camera.zoom):
            self.connect_napari(event, self.live_prediction.moved)
        if taken := bind_keys(self, "start_by_key"):
            self.buttons.lose_key(taken)


class PredictDock(SectionDock):
    """The Predict section in a dock of its own."""

    section_class = PredictSection
