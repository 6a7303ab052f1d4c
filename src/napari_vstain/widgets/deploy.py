"""Deploy: write a trained model as one ONNX file that predicts anywhere, checked against the original."""

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QComboBox, QFormLayout, QLineEdit

from napari_vstain.core.errors import VstainError
from napari_vstain.core.experiments import Run
from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.core.workspace import checked_name
from napari_vstain.widgets.desk import Desk
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.style import WRONG, note, primary, shrinkable
from napari_vstain.widgets.threads import Latest


class DeploySection(Section):
    """The export of one run."""

    title = "Deploy"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.job: Job[Any] | None = None
        self.onnx: Path | None = None
        self._listing = Latest()
        self._build()
        for signal in (self.session.workspace_changed, self.session.runs_changed):
            self.hear(signal, self._list_runs)
        self._list_runs()

    def start(self) -> None:
        """Export the chosen run, in a process of its own."""
        run = self.runs.currentData()
        self.job = self.session.export(run, self.name.text().strip())
        self._describe()
        self.say(Condition.BUSY, "exporting")
        self.desk.pump.listen(self.job, self, finished=self._finish)

    def _finish(self, status: JobStatus) -> None:
        job, self.job = self.job, None
        assert job is not None
        self._describe()
        if self.completed(job, status):
            self._show(job.result())

    def _show(self, onnx: Path) -> None:
        self.onnx = onnx
        self.result.setText(
            f"Saved {onnx.name}, checked against the original, with a README beside it. "
            "This one file predicts in any ONNX runtime, and in Predict here."
        )
        self.result.setToolTip(str(onnx))
        self.result.setVisible(True)
        self.say(Condition.DONE, onnx.name)

    def _list_runs(self, *_: object) -> None:
        if self.session.workspace is None:
            self._show_runs([])
            return
        self.call(lambda progress: self.session.runs(), self._listing.ask(self._show_runs))

    def _show_runs(self, runs: list[Run]) -> None:
        self.runs.clear()
        for run in runs:
            self.runs.addItem(f"{run.experiment.name}/{run.name}", run)
        self._suggest()

    def _suggest(self, *_: object) -> None:
        run = self.runs.currentData()
        if run is not None and not self.name.isModified():
            self.name.setText(f"{run.experiment.name}_{run.name}")
        self._describe()

    def _describe(self) -> None:
        why = self._why_not()
        self.go.setEnabled(not why and self.job is None)
        self.go.setText("Export ONNX" if self.job is None else "Exporting…")
        self.go.setToolTip(why or "Writes deployment/<experiment>/<name>.onnx and compares it with the original.")
        self.hint.setText(why)
        self.hint.setVisible(bool(why))
        if self.job is None and self.now.condition in (Condition.WAITING, Condition.READY):
            self.say(Condition.WAITING if why else Condition.READY, "")

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
        self.name.setStyleSheet(WRONG if problem else "")
        self.name.setToolTip(problem)
        return problem

    def _build(self) -> None:
        self.runs = shrinkable(QComboBox())
        self.name = shrinkable(QLineEdit())
        rows = QFormLayout()
        rows.addRow("Run", self.runs)
        rows.addRow("File name", self.name)
        self.column.addLayout(rows)
        self.hint = note()
        self.column.addWidget(self.hint)
        self.go = primary("Export ONNX")
        self.column.addWidget(self.go)
        self.column.addWidget(self.problem)
        self.result = note()
        self.result.setVisible(False)
        self.column.addWidget(self.result)
        self.go.clicked.connect(lambda: self.attempt(self.start))
        self.runs.currentIndexChanged.connect(self._suggest)
        self.name.textChanged.connect(lambda: self._describe())


class DeployDock(SectionDock):
    """The Deploy section in a dock of its own."""

    section_class = DeploySection
