"""Evaluate: how well a model does on positions it never saw, in a table and in metrics.csv."""

import shutil
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
)

from napari_vstain.core.experiments import Run
from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.core.session import JobKind
from napari_vstain.widgets.desk import Desk
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.runs import RunChooser
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.style import note, primary
from napari_vstain.widgets.wording import count, progress_line

COLUMNS = ("position", "predictor", "channel", "pearson", "ssim", "nrmse", "psnr", "mae")
_ROWS_SHOWN = 8


class EvaluateSection(Section):
    """The metrics of a run."""

    title = "Evaluate"

    kind = JobKind.EVALUATE

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.metrics: Path | None = None
        self._build()
        self.hear(self.session.dataset_changed, self._changed)
        self.runs.list_runs()
        self.follow_jobs()

    def start(self) -> None:
        """Evaluate the chosen run."""
        if self.job is None and self.runs.run is not None:
            self.session.evaluate(self.runs.run, self._positions())

    def began(self, job: Job[Any]) -> None:
        """Show what is evaluated, frozen, and put away what was found before."""
        self.runs.show_run(job.asked["run"])
        self._freeze(True)
        self.forget()
        self.say(Condition.BUSY, "evaluating")

    def progressed(self, status: JobStatus) -> None:
        """Show how far it is."""
        self.say(Condition.BUSY, progress_line(status))

    def ended(self, job: Job[Any], status: JobStatus) -> None:
        """Show what was found."""
        self._freeze(False)
        self._describe()
        if self.completed(job, status):
            self._show(job.asked["run"], job.result())

    def forget(self) -> None:
        """Show no metrics."""
        self.metrics = None
        self.save.setEnabled(False)
        for widget in (self.table, self.result):
            widget.setVisible(False)
        if self.job is None:
            self.say(Condition.WAITING, "")
        self._describe()

    def _freeze(self, running: bool) -> None:
        for editor in (self.runs, self.every):
            editor.setEnabled(not running)

    def export(self, path: Path) -> None:
        """Copy metrics.csv, and the file that explains its columns, to where the user wants them."""
        source = self.metrics
        if source is None:
            return

        def copy(progress: object) -> Path:
            if source.resolve() != path.resolve():
                shutil.copyfile(source, path)
                readme = source.with_name("metrics.README")
                if readme.is_file():
                    shutil.copyfile(readme, path.with_name("metrics.README"))
            return path

        self.call(copy, lambda where: self.result.setText(f"Saved {where}"))

    def _positions(self) -> tuple[str, ...]:
        """Return the positions to evaluate: those kept for the test, or every one."""
        if self.every.isChecked():
            return tuple(self.session.open_dataset.positions)
        return self.session.split().test

    def _show(self, run: Run, result: Any) -> None:
        self.metrics = Path(result.metrics)
        self._fill(table_rows(result.table))
        self.save.setEnabled(True)
        self.result.setText(f"{run.label}, written to {self.metrics.relative_to(run.experiment.root)}")
        self.result.setToolTip(str(self.metrics))
        self.result.setVisible(True)
        self.say(Condition.DONE, headline(result.table))

    def _changed(self, *_: object) -> None:
        if self.job is None:
            self.settle()
        self._describe()

    def _fill(self, rows: list[tuple[str, ...]]) -> None:
        self.table.setRowCount(len(rows))
        for y, row in enumerate(rows):
            for x, text in enumerate(row):
                self.table.setItem(y, x, QTableWidgetItem(text))
        self.table.resizeColumnsToContents()
        height = self.table.horizontalHeader().height() + self.table.rowHeight(0) * min(len(rows), _ROWS_SHOWN) + 20
        self.table.setFixedHeight(height)
        self.table.setVisible(bool(rows))

    def _describe(self, *_: object) -> None:
        why = self._why_not()
        self.go.setEnabled(not why and self.job is None)
        self.go.setToolTip(why or "Predicts what is not predicted yet, and compares it with the target.")
        self.hint.setText(why)
        self.hint.setVisible(bool(why))
        dataset = self.session.dataset
        if self.job is not None:
            self.go.setText("Evaluating…")
        else:
            number = len(self._positions()) if dataset is not None else 0
            self.go.setText(f"Evaluate {count(number, 'position')}" if number else "Evaluate")
        if self.job is None and self.now.condition in (Condition.WAITING, Condition.READY):
            self.say(Condition.WAITING if why else Condition.READY, "")

    def _why_not(self) -> str:
        if self.session.workspace is None or self.session.dataset is None:
            return "Open a workspace with a dataset in Data first."
        if not self.runs.count():
            return "Train a model first: it appears here."
        return "" if self._positions() else "No position was kept for the test: tick “every position”."

    def _build(self) -> None:
        self.runs = RunChooser(self)
        rows = QFormLayout()
        rows.addRow("Run", self.runs)
        self.column.addLayout(rows)
        self.every = QCheckBox("Every position, not only those kept for the test")
        self.every.setToolTip("Positions that the model was trained on flatter it: the table says which they are.")
        self.column.addWidget(self.every)
        self.hint = note()
        self.column.addWidget(self.hint)
        self.go = primary("Evaluate")
        self.column.addWidget(self.go)
        self.column.addWidget(self.problem)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.verticalHeader().setVisible(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.table.setAccessibleName("Metrics")
        self.table.setVisible(False)
        self.column.addWidget(self.table)
        self.save = QPushButton("Export metrics.csv…")
        self.save.setEnabled(False)
        self.column.addWidget(self.save)
        self.result = note()
        self.result.setVisible(False)
        self.column.addWidget(self.result)
        self.go.clicked.connect(lambda: self.attempt(self.start))
        self.runs.changed.connect(self._describe)
        self.runs.activated.connect(self._changed)
        self.every.toggled.connect(self._changed)
        self.save.clicked.connect(self._ask)

    def _ask(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Export the metrics", "metrics.csv", "Table (*.csv)")
        if chosen:
            self.attempt(lambda: self.export(Path(chosen)))


class EvaluateDock(SectionDock):
    """The Evaluate section in a dock of its own."""

    section_class = EvaluateSection


def table_rows(table: Any) -> list[tuple[str, ...]]:
    """Return a table of metrics as text, a tuple a row with the columns of `COLUMNS`."""
    return [tuple(_text(row.get(name, "")) for name in COLUMNS) for row in whole_rows(table)]


def whole_rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows for whole images: of volumes where there are stacks, else of slices, without masks."""
    rows = [row for row in table.to_dict("records") if row.get("mask", "whole") in ("", "whole")]
    stacks = [row for row in rows if row.get("level") == "volume"]
    return stacks or rows


def headline(table: Any) -> str:
    """Return the mean Pearson correlation of the model, and of the baseline where there is one."""
    parts = []
    for predictor, name in (("model", "Pearson"), ("baseline", "baseline")):
        values = [row["pearson"] for row in whole_rows(table) if row.get("predictor") == predictor]
        values = [value for value in values if value == value]
        if values:
            parts.append(f"{name} {sum(values) / len(values):.2f}")
    return " · ".join(parts)


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
