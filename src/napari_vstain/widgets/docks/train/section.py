"""Train: name an experiment, start, watch the loss fall, stop when it is good enough."""

from collections.abc import Mapping
from typing import Any

from qtpy.QtWidgets import QFormLayout, QLineEdit, QPushButton

from napari_vstain.core.errors import VstainError
from napari_vstain.core.jobs import FinishReason, Job, JobState, JobStatus
from napari_vstain.core.session import Curves, JobKind
from napari_vstain.core.training import TrainForm
from napari_vstain.core.workspace import checked_name, dated
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.docks.train.loss_plot import LossPlot
from napari_vstain.widgets.docks.train.resume_button import ResumeButton
from napari_vstain.widgets.docks.train.split_chooser import SplitChooser
from napari_vstain.widgets.kit.collapsible import Collapsible
from napari_vstain.widgets.kit.forms import SettingsForm
from napari_vstain.widgets.kit.style import caution_line, mark_wrong, note, primary, shrinkable
from napari_vstain.widgets.kit.text import arrow, count, progress_line
from napari_vstain.widgets.main_thread import outcome_error
from napari_vstain.widgets.section import Condition, Section, silent
from napari_vstain.widgets.viewer_context import ViewerContext

_TIP = "Draws random patches of the training positions and learns to predict the targets from the sources."
_SAID_ELSEWHERE = ("dataset", "experiment", "sources", "targets", "train_on", "validate_on", "test_on")
"""The Data dock, the line above the form and the table of positions say these."""


class TrainSection(Section):
    """One training at a time, started and watched."""

    title = "Train"

    kind = JobKind.TRAIN

    def __init__(self, context: ViewerContext) -> None:
        super().__init__(context)
        self.plot = LossPlot(context)
        self._build()
        self.connect_session(self.session.workspace_changed, self._changed)
        self.connect_session(self.session.dataset_changed, self._split_anew)
        self._split_anew()
        self.connect_session(self.session.channels_changed, self._rename)
        self._rename()
        self.follow_jobs()

    def start(self) -> None:
        """Train with what the form says."""
        if self.job is None:
            self.session.train(self.name.text().strip(), self.splitting.split, **self._choices())

    def go_on(self) -> None:
        """Go on with the experiment's last training, which was interrupted."""
        if self.job is None and self.resume.run is not None:
            self.session.resume(self.resume.run)

    def began(self, job: Job[Any]) -> None:
        """Show the training: what it was asked, frozen, and its losses from the first on."""
        self._show_asked(job.asked)
        self._freeze(True)
        if isinstance(job.record, Curves):
            self.plot.show_losses(job.record)
        self.result.setText("Starting… the first time this takes some seconds.")
        self.result.setToolTip("")
        self.result.setVisible(True)
        self.set_state(Condition.BUSY, "starting")
        self._reflect_stop(job.status.state)

    def progressed(self, status: JobStatus) -> None:
        """Show how far it is."""
        self.plot.ask()
        self._reflect_stop(status.state)
        if status.phase:
            text = progress_line(status)
            self.result.setText(text)
            self.set_state(Condition.BUSY, text)

    def ended(self, job: Job[Any], status: JobStatus) -> None:
        """Show what was learned, and give the form back."""
        self._freeze(False)
        self.plot.ask()
        self.plot.setVisible(not self.plot.empty)
        if status.reason is FinishReason.FAILED:
            self.result.setVisible(False)
            self.show_error(outcome_error(job))
        else:
            self._tell(job, stopped=status.reason is FinishReason.CANCELLED)
        self._propose()
        self._describe()

    def forget(self) -> None:
        """Show nothing of a training in another workspace."""
        self.plot.setVisible(False)
        self.result.setVisible(False)
        self.set_state(Condition.WAITING, "")
        self._describe()

    def _tell(self, job: Job[Any], stopped: bool) -> None:
        result = getattr(outcome_error(job), "kept", None) if stopped else job.result()
        if result is None or not result.epochs:
            self.result.setText(
                "Stopped before the first epoch had ended: there is nothing to predict with. Earlier runs stay in use."
            )
            self.set_state(Condition.READY, "stopped")
            return
        verb = "Stopped after" if stopped else "Trained"
        self.result.setText(
            f"{verb} {count(result.epochs, 'epoch')}: best loss {result.best_loss:.4g}. "
            f"Saved as {result.run.label}, ready in Predict. {' '.join(result.remarks)}".rstrip()
        )
        self.result.setToolTip(str(result.checkpoint))
        self.set_state(Condition.DONE, result.run.label)

    def _halt(self) -> None:
        if self.job is not None:
            self.job.stop()
            self._reflect_stop(JobState.STOPPING)

    def _reflect_stop(self, state: JobState) -> None:
        stopping = state is JobState.STOPPING
        self.stop.setEnabled(not stopping)
        self.stop.setText("Stopping… (finishing batch)" if stopping else "Stop training")

    def _freeze(self, running: bool) -> None:
        """Let nobody change what a training was started with while it runs; it is shown instead."""
        for editor in (self.name, self.form, self.splitting):
            editor.setEnabled(not running)
        self.go.setVisible(not running)
        self.stop.setVisible(running)
        self.resume.setVisible(not running and self.resume.run is not None)

    def _show_asked(self, asked: Mapping[str, Any]) -> None:
        with silent(self.name, self.form, self.splitting):
            self.name.setText(asked["experiment"])
            if "run" in asked:  # which goes on with its own settings
                return
            self.form.restore_defaults()
            self.form.set_values(dict(asked))
            if self.session.dataset is not None and self.session.dataset.name == asked["dataset"]:
                self.splitting.show_split(tuple(self.session.dataset.positions), asked["split"])

    # What the form says

    def _split_anew(self, *_: object) -> None:
        """Propose a split of another dataset; while a training runs, its own is shown."""
        self._propose()
        self._changed()

    def _propose(self) -> None:
        if self.job is None and self.session.dataset is not None:
            with silent(self.splitting):
                self.splitting.set_positions(tuple(self.session.dataset.positions))

    def _choices(self) -> dict[str, Any]:
        return self.form.values()

    def _rename(self, *_: object) -> None:
        """Suggest a name that says the day and the targets, unless the user typed one."""
        if not self.name.isModified() and self.job is None:
            targets = dated("_".join(self.session.targets) or "stain")
            self.name.setText("".join(c if c.isalnum() else "_" for c in targets))
        self._changed()

    def _changed(self, *_: object) -> None:
        if self.job is None:
            self.clear_error()
        self._describe()

    def _describe(self) -> None:
        session = self.session
        why = self._why_not()
        self.go.setEnabled(not why)
        self.go.setToolTip(why or _TIP)
        if session.dataset is None or not session.sources or not session.targets:
            self.go.setText("Train")
            self.plan.setText(why)
            self.caution.setVisible(False)
            if self.job is None and not self.problem.isVisible():
                self.set_state(Condition.WAITING, "")
            return
        split = self.splitting.split
        self.caution.setText("<br>".join(split.cautions))
        self.caution.setVisible(bool(split.cautions))
        self.go.setText(f"Train on {count(len(split.train), 'position')}")
        self.plan.setText(
            f"{arrow(session.sources, session.targets)} · {len(split.validate)} to validate, "
            f"{len(split.test)} kept for the test." + (f"<br><b>{why}</b>" if why else "")
        )
        if self.job is None and self.now.condition is Condition.WAITING:
            self.set_state(Condition.READY, count(len(split.train), "position"))

    def _why_not(self) -> str:
        session = self.session
        problem = self._name_problem()
        mark_wrong(self.name, bool(problem))
        self.name.setToolTip(problem or "The folder under models/ that keeps this training and those that follow it.")
        if session.dataset is None:
            return "Open a dataset in Data first."
        if not session.sources or not session.targets:
            return "Choose at least one source and one target channel in Data."
        if session.workspace is None:
            return "Create a workspace in Data first: it keeps the model."
        return problem or next(iter(self.form.problems.values()), "") or self._split_problem()

    def _split_problem(self) -> str:
        try:
            self.splitting.split.checked(tuple(self.session.open_dataset.positions))
        except VstainError as error:
            return str(error)
        return ""

    def _experiment(self) -> str:
        return "" if self._name_problem() else self.name.text().strip()

    def _name_problem(self) -> str:
        try:
            checked_name("experiment", self.name.text().strip())
        except VstainError as error:
            return str(error)
        return ""

    # The widgets

    def _build(self) -> None:
        self.name = shrinkable(QLineEdit())
        rows = QFormLayout()
        rows.addRow("Experiment", self.name)
        self.column.addLayout(rows)
        self.form = SettingsForm(TrainForm, without=_SAID_ELSEWHERE)
        self.column.addWidget(self.form)
        self.splitting = SplitChooser()
        self.column.addWidget(Collapsible("Positions to learn from, to validate, to test", self.splitting))
        self.plan, self.caution = note(), caution_line()
        self.column.addWidget(self.plan)
        self.column.addWidget(self.caution)
        self.go = primary("Train")
        self.stop = QPushButton("Stop training")
        self.stop.setMinimumHeight(36)
        self.stop.setVisible(False)
        self.column.addWidget(self.go)
        self.resume = ResumeButton(self, self._experiment)
        self.column.addWidget(self.resume)
        self.column.addWidget(self.stop)
        self.column.addWidget(self.problem)
        self.column.addWidget(self.plot)
        self.result = note()
        self.result.setVisible(False)
        self.column.addWidget(self.result)
        self.go.clicked.connect(lambda: self.guarded(self.start))
        self.stop.clicked.connect(self._halt)
        self.resume.clicked.connect(lambda: self.guarded(self.go_on))
        self.name.textChanged.connect(self._changed)
        self.name.textChanged.connect(self.resume.look)
        self.form.changed.connect(self._changed)
        self.splitting.changed.connect(self._changed)


class TrainDock(SectionDock):
    """The Train section in a dock of its own."""

    section_class = TrainSection
