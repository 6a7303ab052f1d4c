"""Deploy: write a trained model as one ONNX file that predicts anywhere, checked against the original."""

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFormLayout, QLineEdit

from napari_vstain.core.deployment.settings import ExportSettings
from napari_vstain.core.errors import VstainError
from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.core.session import JobKind
from napari_vstain.core.workspace import checked_name
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.docks.run_chooser import RunChooser
from napari_vstain.widgets.kit.forms import SettingsForm
from napari_vstain.widgets.kit.style import mark_wrong, note, primary, shrinkable
from napari_vstain.widgets.kit.text import progress_line
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.viewer_context import ViewerContext


class DeploySection(Section):
    """The export of one run."""

    title = "Deploy"

    kind = JobKind.EXPORT

    def __init__(self, context: ViewerContext) -> None:
        super().__init__(context)
        self.onnx: Path | None = None
        self._build()
        self.runs.list_runs()
        self.follow_jobs()

    def start(self) -> None:
        """Export the chosen run, in a process of its own."""
        if self.job is None and self.runs.run is not None:
            self.session.export(self.runs.run, self.name.text().strip(), **self.form.values())

    def began(self, job: Job[Any]) -> None:
        """Show what is exported, frozen, and put away what was exported before."""
        self.runs.show_run(job.asked["run"])
        self.name.setText(job.asked["name"])
        self._freeze(True)
        self.forget()
        self.set_state(Condition.BUSY, "exporting")

    def progressed(self, status: JobStatus) -> None:
        """Show how far it is."""
        self.set_state(Condition.BUSY, progress_line(status) or "exporting")

    def ended(self, job: Job[Any], status: JobStatus) -> None:
        """Show the file."""
        self._freeze(False)
        self._describe()
        if self.completed(job, status):
            self._show(job.result())

    def forget(self) -> None:
        """Show no file."""
        self.onnx = None
        self.result.setVisible(False)
        if self.job is None:
            self.set_state(Condition.WAITING, "")
        self._describe()

    def _freeze(self, running: bool) -> None:
        for editor in (self.runs, self.name, self.form):
            editor.setEnabled(not running)

    def _show(self, onnx: Path) -> None:
        self.onnx = onnx
        self.result.setText(
            f"Saved {onnx.name}, checked against the original, with a README beside it. "
            "This one file predicts in any ONNX runtime, and in Predict here."
        )
        self.result.setToolTip(str(onnx))
        self.result.setVisible(True)
        self.set_state(Condition.DONE, onnx.name)

    def _suggest(self, *_: object) -> None:
        run = self.runs.run
        if run is not None and not self.name.isModified() and self.job is None:
            self.name.setText(f"{run.experiment.name}_{run.name}")
        self._describe()

    def _changed(self, *_: object) -> None:
        if self.job is None:
            self.clear_error()
        self._describe()

    def _describe(self) -> None:
        why = self._why_not()
        self.go.setEnabled(not why and self.job is None)
        self.go.setText("Export ONNX" if self.job is None else "Exporting…")
        self.go.setToolTip(why or "Writes deployment/<experiment>/<name>.onnx and compares it with the original.")
        self.hint.setText(why)
        self.hint.setVisible(bool(why))
        if self.job is None and self.now.condition in (Condition.WAITING, Condition.READY):
            self.set_state(Condition.WAITING if why else Condition.READY, "")

    def _why_not(self) -> str:
        if self.session.workspace is None:
            return "Open a workspace in Data first."
        if not self.runs.count():
            return "Train a model first: it appears here."
        problem = ""
        try:
            checked_name("model", self.name.text().strip())
        except VstainError as error:
            problem = str(error)
        mark_wrong(self.name, bool(problem))
        self.name.setToolTip(problem)
        return problem or next(iter(self.form.problems.values()), "")

    def _build(self) -> None:
        self.runs = RunChooser(self)
        self.name = shrinkable(QLineEdit())
        rows = QFormLayout()
        rows.addRow("Run", self.runs)
        rows.addRow("File name", self.name)
        self.column.addLayout(rows)
        self.form = SettingsForm(ExportSettings, without=("experiment", "run", "name"))
        self.column.addWidget(self.form)
        self.hint = note()
        self.column.addWidget(self.hint)
        self.go = primary("Export ONNX")
        self.column.addWidget(self.go)
        self.column.addWidget(self.problem)
        self.result = note()
        self.result.setVisible(False)
        self.column.addWidget(self.result)
        self.go.clicked.connect(lambda: self.guarded(self.start))
        self.runs.changed.connect(self._suggest)
        self.runs.activated.connect(self._changed)
        self.name.textChanged.connect(self._changed)
        self.form.changed.connect(self._changed)


class DeployDock(SectionDock):
    """The Deploy section in a dock of its own."""

    section_class = DeploySection
