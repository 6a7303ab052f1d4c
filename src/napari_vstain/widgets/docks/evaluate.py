"""Evaluate: how well a model does on positions it never saw, in a table and in metrics.csv."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

from napari_vstain.core.evaluation.settings import EvaluateSettings
from napari_vstain.core.experiments import Run
from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.core.left_out import outcome
from napari_vstain.core.models.split import PARTS, Split
from napari_vstain.core.session import JobKind
from napari_vstain.widgets.dock import SectionDock
from napari_vstain.widgets.docks.run_chooser import RunChooser
from napari_vstain.widgets.kit.forms import SettingsForm
from napari_vstain.widgets.kit.style import caution_line, note, primary
from napari_vstain.widgets.kit.text import count, progress_line
from napari_vstain.widgets.main_thread import LatestOnly
from napari_vstain.widgets.section import Condition, Section
from napari_vstain.widgets.viewer_context import ViewerContext

if TYPE_CHECKING:
    from napari_vstain.core.evaluation import Headline

COLUMNS = ("position", "split", "predictor", "channel", "pearson", "ssim", "nrmse", "psnr", "mae")
_ROWS_SHOWN = 8


_SAID_ELSEWHERE = ("experiment", "run", "model", "dataset", "positions")
"""The list of runs, the Data dock and the split say these."""


class EvaluateSection(Section):
    """The metrics of a run."""

    title = "Evaluate"

    kind = JobKind.EVALUATE

    def __init__(self, context: ViewerContext) -> None:
        super().__init__(context)
        self.metrics: Path | None = None
        self.split: Split | None = None
        """That of the chosen run, from its model; None where it was trained on another dataset."""
        self._known: object = None
        self._is_read = False
        self._reading = LatestOnly()
        self._build()
        self.connect_session(self.session.dataset_changed, self._ask_split)
        self.runs.list_runs()
        self.follow_jobs()

    def start(self) -> None:
        """Evaluate the chosen run."""
        if self.job is None and self.runs.run is not None:
            self.session.evaluate(self.runs.run, self._positions(), **self.form.values())

    def began(self, job: Job[Any]) -> None:
        """Show what is evaluated, frozen, and put away what was found before."""
        self.runs.show_run(job.asked["run"])
        self._freeze(True)
        self.forget()
        self.set_state(Condition.BUSY, "evaluating")

    def progressed(self, status: JobStatus) -> None:
        """Show how far it is."""
        self.set_state(Condition.BUSY, progress_line(status))

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
        for widget in (self.headline, self.table, self.result, self.caution):
            widget.setVisible(False)
        if self.job is None:
            self.set_state(Condition.WAITING, "")
        self._describe()

    def _freeze(self, running: bool) -> None:
        for editor in (self.runs, self.every, self.form):
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

    # The split of the run

    def _ask_split(self, *_: object) -> None:
        """Read which positions the chosen run was trained on, unless that is known."""
        run, dataset = self.runs.run, self.session.dataset
        if (asked := (run, dataset.path if dataset else None)) != self._known:
            self._known, self.split, self._is_read = asked, None, False
            if self.job is None:
                self.clear_error()
            if run is not None and dataset is not None:
                self.call(lambda progress: self.session.split_of(run), self._reading.ask(self._take_split))
        self._describe()

    def _take_split(self, split: Split | None) -> None:
        self.split, self._is_read = split, True
        self._describe()

    def _positions(self) -> tuple[str, ...]:
        """Return the positions to evaluate: those that the run kept for the test, or every one."""
        every = tuple(self.session.open_dataset.positions)
        if self.every.isChecked() or (self._is_read and not self._seen()):
            return every
        return tuple(key for key in self.split.test if key in every) if self.split is not None else ()

    def _seen(self) -> bool:
        """Return True if the run says which of these positions it was trained with."""
        return self.split is not None and bool(self.split.train)

    def _about(self) -> str:
        if not self._is_read or self.session.dataset is None:
            return ""
        if self.split is None:
            return "The run was trained on another dataset: it has seen none of these positions."
        return f"The run’s positions: {self.split}." if self._seen() else "The model does not say what it has seen."

    # What was found

    def _show(self, run: Run, result: Any) -> None:
        from napari_vstain.core.evaluation import headlines

        self.metrics = Path(result.metrics)
        self._fill(table_rows(result.table))
        self.save.setEnabled(True)
        found = headlines(result.table)
        self.headline.setText("<br>".join(map(str, found)))
        self.headline.setVisible(bool(found))
        self.result.setText(f"{run.label}, written to {self.metrics.relative_to(run.experiment.root)}")
        self.result.setToolTip(str(self.metrics))
        self.result.setVisible(True)
        missing = [outcome("Evaluated", result.positions, result.left_out)] if result.left_out else []
        cautions = [*missing, *(self.split.cautions if self.split is not None else ())]
        self.caution.setText("<br>".join(cautions))
        self.caution.setVisible(bool(cautions))
        self.set_state(*verdict(found))

    def _changed(self, *_: object) -> None:
        if self.job is None:
            self.clear_error()
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
        dataset = self.session.dataset
        self.hint.setText(why)
        self.hint.setVisible(bool(why))
        self.about.setText(self._about())
        self.about.setVisible(bool(self.about.text()))
        if self.job is not None:
            self.go.setText("Evaluating…")
        else:
            number = len(self._positions()) if dataset is not None else 0
            self.go.setText(f"Evaluate {count(number, 'position')}" if number else "Evaluate")
        if self.job is None and self.now.condition in (Condition.WAITING, Condition.READY):
            self.set_state(Condition.WAITING if why else Condition.READY, "")

    def _why_not(self) -> str:
        if self.session.workspace is None or self.session.dataset is None:
            return "Open a workspace with a dataset in Data first."
        if not self.runs.count():
            return "Train a model first: it appears here."
        if not self._is_read and not self.every.isChecked():
            return "Reading what the run was trained on…"
        if self.form.problems:
            return next(iter(self.form.problems.values()))
        return "" if self._positions() else "No position was kept for the test: tick “every position”."

    def _build(self) -> None:
        self.runs = RunChooser(self)
        rows = QFormLayout()
        rows.addRow("Run", self.runs)
        self.column.addLayout(rows)
        self.every = QCheckBox("Every position, not only those kept for the test")
        self.every.setToolTip("Positions that the model was trained on flatter it: the column “split” says which.")
        self.column.addWidget(self.every)
        self.form = SettingsForm(EvaluateSettings, without=_SAID_ELSEWHERE)
        self.column.addWidget(self.form)
        self.about, self.hint = note(), note()
        self.column.addWidget(self.about)
        self.column.addWidget(self.hint)
        self.go = primary("Evaluate")
        self.column.addWidget(self.go)
        self.column.addWidget(self.problem)
        self.headline = note()
        self.headline.setVisible(False)
        self.column.addWidget(self.headline)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        self.table.verticalHeader().setVisible(False)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.table.setAccessibleName("Metrics")
        self.table.setVisible(False)
        self.column.addWidget(self.table)
        self.caution = caution_line()
        self.column.addWidget(self.caution)
        self.save = QPushButton("Export metrics.csv…")
        self.save.setEnabled(False)
        self.column.addWidget(self.save)
        self.result = note()
        self.result.setVisible(False)
        self.column.addWidget(self.result)
        self.go.clicked.connect(lambda: self.guarded(self.start))
        self.runs.changed.connect(self._ask_split)
        self.every.toggled.connect(self._changed)
        self.form.changed.connect(self._changed)
        self.save.clicked.connect(self._ask)

    def _ask(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Export the metrics", "metrics.csv", "Table (*.csv)")
        if chosen:
            self.guarded(lambda: self.export(Path(chosen)))


class EvaluateDock(SectionDock):
    """The Evaluate section in a dock of its own."""

    section_class = EvaluateSection


def table_rows(table: Any) -> list[tuple[str, ...]]:
    """Return a table of metrics as text, a tuple a row with the columns of `COLUMNS`: the test's positions first."""
    parts = list(PARTS)
    rows = sorted(whole_rows(table), key=lambda row: parts.index(row["split"]) if row.get("split") in parts else 9)
    return [tuple(_text(row.get(name, "")) for name in COLUMNS) for row in rows]


def whole_rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows for whole images: of volumes where there are stacks, else of slices, without masks."""
    rows = [row for row in table.to_dict("records") if row.get("mask", "whole") in ("", "whole")]
    stacks = [row for row in rows if row.get("level") == "volume"]
    return stacks or rows


def verdict(found: "Sequence[Headline]") -> tuple[Condition, str]:
    """Return how an evaluation went, and in a few words what came of it: amber where that is not to be relied on."""
    scores = " · ".join(
        f"{one.means.channel} {one.means.metrics['pearson']:.2f}"
        + (f" (baseline {one.baseline:.2f})" if one.baseline is not None else "")
        for one in found
    )
    if any(one.below_baseline for one in found):
        return Condition.CAUTION, f"below the baseline · {scores}"
    if not all(one.unseen for one in found):
        return Condition.CAUTION, f"positions it was trained with · {scores}"
    return Condition.DONE, f"Pearson {scores}"


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
