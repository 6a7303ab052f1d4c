"""The footer of a dock: what runs, how far it is, Stop, and the device it runs on."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_vstain.core.jobs import Job, JobState, JobStatus
from napari_vstain.widgets.device import DeviceLine
from napari_vstain.widgets.kit.connections import Connection, connect, disconnector, when_destroyed
from napari_vstain.widgets.kit.progress_bar import ProgressBar
from napari_vstain.widgets.kit.style import eliding, rule, stop_button
from napari_vstain.widgets.kit.text import progress, progress_line, time_left
from napari_vstain.widgets.viewer_context import ViewerContext


class Footer(QWidget):
    """One row for each job under way, and the device line. It survives its jobs, and they survive it."""

    def __init__(self, context: ViewerContext) -> None:
        super().__init__()
        self._context = context
        self._rows = QVBoxLayout()
        self._rows.setSpacing(4)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 2, 8, 6)
        column.setSpacing(4)
        column.addWidget(rule())
        column.addLayout(self._rows)
        column.addWidget(DeviceLine(context))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        connections: list[Connection] = []
        when_destroyed(self, disconnector(connections))
        connect(context.session.job_started, self.show_job, connections)
        for job in context.session.announced:
            self.show_job(job)

    def show_job(self, job: Job[Any]) -> None:
        """Add a row for a job; it goes when the job ends."""
        row = JobRow(job)
        self._rows.addWidget(row)
        self._context.pump.listen(job, row, progressed=row.reflect, finished=row.finish)


class JobRow(QWidget):
    """One job: name, bar, rate and time left, Stop."""

    def __init__(self, job: Job[Any]) -> None:
        super().__init__()
        self._job = job
        self._text = eliding(job.name)
        self._bar = ProgressBar()
        self.stop = stop_button()
        self.stop.clicked.connect(self._stop)
        left = QVBoxLayout()
        left.setSpacing(2)
        left.addWidget(self._text)
        left.addWidget(self._bar)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addLayout(left, 1)
        line.addWidget(self.stop, 0, Qt.AlignmentFlag.AlignBottom)

    def reflect(self, status: JobStatus) -> None:
        """Show how far the job is."""
        self._bar.show_progress(status.done, status.total)
        self._text.setText(" · ".join(filter(None, (self._job.name, time_left(status.eta_s), progress(status)))))
        self._text.setToolTip(f"{self._job.name}: {progress_line(status)}")
        if status.state is JobState.STOPPING:
            self._say_stopping()

    def finish(self, status: JobStatus) -> None:
        """Remove the row; what came of the job is told by the section that started it."""
        self.hide()
        self.deleteLater()

    def _stop(self) -> None:
        self._job.stop()
        self._say_stopping()

    def _say_stopping(self) -> None:
        self.stop.setEnabled(False)
        self.stop.setText("Stopping…")
