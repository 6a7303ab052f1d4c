"""A section is one step of the work: narrow, with no scroll area of its own, alone in a dock or stacked with others."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_vstain.core.errors import VstainError
from napari_vstain.core.jobs import FinishReason, Job, JobState, JobStatus
from napari_vstain.core.progress import Progress
from napari_vstain.widgets.kit.connections import Connection, connect, disconnector, event_disconnector, when_destroyed
from napari_vstain.widgets.kit.style import MAX_WIDTH, MIN_WIDTH, problem_line
from napari_vstain.widgets.kit.wheel import watched
from napari_vstain.widgets.main_thread import outcome_error
from napari_vstain.widgets.viewer_context import ViewerContext

_log = logging.getLogger(__name__)


class Condition(StrEnum):
    """How a section is doing."""

    WAITING = "waiting"
    """Something must be chosen first."""
    READY = "ready"
    BUSY = "busy"
    DONE = "done"
    CAUTION = "caution"
    """Done, and what came of it is not to be relied on."""
    FAILED = "failed"


@dataclass(frozen=True)
class SectionState:
    """What a stacked section says of itself in one line."""

    condition: Condition = Condition.WAITING
    summary: str = ""


class Section(QWidget):
    """The base of the sections: a column, a line for what went wrong, and a `state` for the workbench."""

    title: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    """Which of the session's jobs it shows, see `follow_jobs`."""
    state = Signal(object)

    def __init__(self, context: ViewerContext) -> None:
        super().__init__()
        self.context = context
        self.session = context.session
        self.now = SectionState()
        self.job: Job[Any] | None = None
        """The job of our kind that runs."""
        self._followed: Job[Any] | None = None
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(8, 6, 8, 8)
        self.column.setSpacing(6)
        self.problem = problem_line()
        self.setMinimumWidth(MIN_WIDTH)
        self.setMaximumWidth(16777215)
        self._connections: list[Connection] = []
        when_destroyed(self, disconnector(self._connections))

    def sizeHint(self) -> Any:
        """Never ask for more than a narrow dock."""
        hint = super().sizeHint()
        hint.setWidth(min(hint.width(), MAX_WIDTH))
        return hint

    def showEvent(self, event: QShowEvent | None) -> None:
        """Keep the wheel off our editors, also where no dock is around us."""
        super().showEvent(event)
        watched(self)

    def set_state(self, condition: Condition, summary: str) -> None:
        """Change the state, and tell who listens."""
        state = SectionState(condition, summary)
        if state != self.now:
            self.now = state
            self.state.emit(state)

    def connect_session(self, signal: SignalInstance, slot: Callable[..., Any]) -> None:
        """Connect a session's signal for as long as this section lives."""
        connect(signal, slot, self._connections)

    def connect_napari(self, emitter: Any, slot: Callable[..., Any]) -> None:
        """Connect one of napari's events for as long as this section lives."""
        emitter.connect(slot)
        when_destroyed(self, event_disconnector(emitter, WeakMethod(slot)))

    def row(self, *widgets: QWidget, stretch: int = -1) -> QHBoxLayout:
        """Add widgets side by side; `stretch` is the index of the one that takes what width is left."""
        line = QHBoxLayout()
        line.setSpacing(6)
        for at, widget in enumerate(widgets):
            line.addWidget(widget, 1 if at == stretch else 0)
        self.column.addLayout(line)
        return line

    def call(self, function: Callable[[Progress], Any], then: Callable[[Any], object]) -> Job[Any]:
        """Run a function off the main thread, then call `then(result)` here; an error goes to the line."""
        return self.context.pump.call(self.session, function, then, self.show_error, self)

    # The session's job of our kind. A section owns none: it shows what whoever opens it, however late, should see.

    def follow_jobs(self) -> None:
        """Show the session's last job of our kind, and those that come, whoever starts them."""
        self.connect_session(self.session.job_started, self._came)
        self.connect_session(self.session.workspace_changed, self._moved)
        if (job := self.session.latest(self.kind)) is not None and self._is_here(job):
            self._show_job(job)

    def began(self, job: Job[Any]) -> None:
        """Show that a job runs, and what it was started with."""

    def progressed(self, status: JobStatus) -> None:
        """Show how far it is."""

    def ended(self, job: Job[Any], status: JobStatus) -> None:
        """Show what came of it; `self.job` is None by now."""

    def forget(self) -> None:
        """Show nothing of a job that has ended: it belongs to another workspace."""

    def _came(self, job: Job[Any]) -> None:
        if job.kind == self.kind:
            self._show_job(job)

    def _show_job(self, job: Job[Any]) -> None:
        self._followed = job
        if job.running:
            self.job = job
            self.clear_error()
            self.began(job)

            def hear(status: JobStatus) -> None:
                self._reflect_job(job, status)

            self.context.pump.listen(job, self, progressed=hear, finished=hear)
        else:
            self.began(job)
            self.ended(job, job.status)

    def _reflect_job(self, job: Job[Any], status: JobStatus) -> None:
        if job is not self._followed:
            return
        if status.state is JobState.DONE:
            self.job = None
            self.ended(job, status)
        else:
            self.progressed(status)

    def _moved(self, *_: object) -> None:
        if self.job is None:
            self._followed = None
            self.clear_error()
            self.forget()

    def _is_here(self, job: Job[Any]) -> bool:
        return job.running or job.asked.get("workspace") == self.session.workspace

    def completed(self, job: Job[Any], status: JobStatus) -> bool:
        """Return True if a job completed; else show how it ended."""
        if status.reason is FinishReason.FAILED:
            self.show_error(outcome_error(job))
        elif status.reason is FinishReason.CANCELLED:
            self.set_state(Condition.READY, "stopped")
        return status.reason is FinishReason.COMPLETED

    def show_error(self, error: BaseException | str) -> None:
        """Show what went wrong until `clear_error`."""
        if isinstance(error, BaseException) and not isinstance(error, VstainError):
            _log.error("%s: %r", self.title, error, exc_info=error)
        self.problem.setText(sentence(error))
        self.problem.setVisible(True)
        self.set_state(Condition.FAILED, sentence(error))

    def clear_error(self) -> None:
        """Clear what went wrong before: its cause is gone, or something is tried anew."""
        self.problem.setVisible(False)
        if self.now.condition is Condition.FAILED:
            self.set_state(Condition.READY, "")

    def guarded(self, action: Callable[[], object]) -> None:
        """Do something that a click asked for; what it raises goes to the line, never to a traceback."""
        self.clear_error()
        try:
            action()
        except Exception as error:
            self.show_error(error)


def sentence(error: BaseException | str) -> str:
    """Return an error as one line for people: ours as it is, others with their kind."""
    text = " ".join(str(error).split())
    if isinstance(error, str | VstainError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def silent(*widgets: QWidget) -> Iterator[None]:
    """Block the signals of widgets while they are made to show something."""
    were = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, was in zip(widgets, were, strict=True):
            widget.blockSignals(was)
