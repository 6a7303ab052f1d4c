"""A job is a function on a daemon thread that reports, can be stopped, and ends exactly once."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event, Lock, Thread, current_thread
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from psygnal import Signal, SignalInstance

from napari_vstain.core.jobs.events import EventKind, EventQueue, JobEvent
from napari_vstain.core.jobs.status import FinishReason, JobState, JobStatus
from napari_vstain.core.progress import Cancelled, CancelToken, Progress, Report

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Record(Protocol):
    """Keeps what a job produces, for whoever looks later; called on the job's own thread."""

    def take(self, item: object) -> None: ...


class Job(Generic[T]):
    """A function of a `Progress`, running in the background.

    ::

        idle --start--> running --return, raise--> done(completed | failed)
                           |                         ^
                           +--stop--> stopping ------+ (cancelled, or completed if it was too late)

    The signals are emitted on the job's own thread. A listener that raises is logged and disturbs
    neither the job nor the other listeners. `finished` is emitted exactly once, from the thread's own
    ``finally``, after `status` says DONE. A job stopped before it starts finishes as soon as it starts.
    """

    started = Signal()
    progressed = Signal(JobStatus)
    produced = Signal(object)
    finished = Signal(FinishReason)

    def __init__(
        self, function: Callable[[Progress], T], name: str, *,
        kind: str = "", asked: Mapping[str, Any] | None = None, record: Record | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.kind = kind
        """What it is for: by this, whoever shows jobs of one kind finds it again."""
        self.asked: Mapping[str, Any] = MappingProxyType(dict(asked or {}))
        """What it was started with, for people."""
        self.record = record
        self.token = CancelToken()
        self._function: Callable[[Progress], T] | None = function
        self._lock = Lock()
        self._status = JobStatus()
        self._phase_began = 0.0
        self._queues: list[EventQueue] = []
        self._outcome: T | None = None
        self._exception: BaseException | None = None
        self._ended = Event()
        self._thread = Thread(target=self._run, name=f"vstain-{name}", daemon=True)

    @property
    def status(self) -> JobStatus:
        """What the job is doing now."""
        with self._lock:
            return self._status

    @property
    def running(self) -> bool:
        """True from `start` until the end."""
        return self.status.state in (JobState.RUNNING, JobState.STOPPING)

    def start(self) -> "Job[T]":
        """Begin; a job runs once.

        Raises
        ------
        RuntimeError
            When it was started before.
        """
        with self._lock:
            if self._status.state is not JobState.IDLE:
                raise RuntimeError(f"job {self.name!r} was started before")
            self._status = replace(self._status, state=JobState.RUNNING)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ask the job to end; returns at once."""
        with self._lock:
            if self._status.state is JobState.RUNNING:
                self._status = replace(self._status, state=JobState.STOPPING)
        self.token.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until every `finished` listener was called; return False when `timeout_s` came first."""
        if current_thread() is self._thread:
            return self.status.state is JobState.DONE
        return self._ended.wait(timeout_s)

    def result(self) -> T:
        """Wait, and return what the function returned.

        Raises
        ------
        Cancelled
            When it was stopped; `Cancelled.kept` is what it had saved by then.
        BaseException
            Whatever the function raised.
        """
        self.wait()
        if self._exception is not None:
            raise self._exception
        return self._outcome  # type: ignore[return-value]

    def subscribe(self) -> EventQueue:
        """Return a new queue of what happens from now on, beginning with the present status."""
        queue = EventQueue()
        with self._lock:
            kind = EventKind.FINISHED if self._status.state is JobState.DONE else EventKind.PROGRESSED
            queue.put(JobEvent(kind, self._status))
            self._queues.append(queue)
        return queue

    def _run(self) -> None:
        reason = FinishReason.FAILED
        try:
            self._tell(EventKind.STARTED)
            self._outcome = self._call()
            reason = FinishReason.COMPLETED
        except Cancelled as cancelled:
            self._exception, reason = cancelled, FinishReason.CANCELLED
        except BaseException as error:
            self._exception = error
            _log.debug("job %r failed", self.name, exc_info=True)
        finally:
            self._finish(reason)

    def _call(self) -> T:
        function, self._function = self._function, None  # so that a finished job holds no model
        assert function is not None
        self.token.check()
        return function(Progress(self.token, _JobSink(self)))

    def _take_report(self, report: Report) -> None:
        now = time.perf_counter()
        with self._lock:
            if report.done == 0 or report.phase != self._status.phase:
                self._phase_began = now
            self._status = self._status.told(report, now - self._phase_began)
        self._tell(EventKind.PROGRESSED)

    def _finish(self, reason: FinishReason) -> None:
        error = _sentence(self._exception) if reason is FinishReason.FAILED else ""
        with self._lock:
            self._status = replace(self._status, state=JobState.DONE, reason=reason, error=error, eta_s=None)
        try:
            self._tell(EventKind.FINISHED)
        finally:
            self._ended.set()

    def _tell(self, kind: EventKind, item: Any = None) -> None:
        with self._lock:
            status, queues = self._status, tuple(self._queues)
            for queue in queues:
                queue.put(JobEvent(kind, status, item))
        arguments = {
            EventKind.STARTED: (self.started, ()),
            EventKind.PROGRESSED: (self.progressed, (status,)),
            EventKind.PRODUCED: (self.produced, (item,)),
            EventKind.FINISHED: (self.finished, (status.reason,)),
        }
        signal, payload = arguments[kind]
        emit_isolated(signal, *payload)


class _JobSink:
    """Hands what the function reports to its job."""

    def __init__(self, job: Job[Any]) -> None:
        self._job = job

    def reported(self, report: Report) -> None:
        self._job._take_report(report)

    def produced(self, item: object) -> None:
        if self._job.record is not None:
            self._job.record.take(item)
        self._job._tell(EventKind.PRODUCED, item)


def emit_isolated(signal: SignalInstance, *arguments: Any) -> None:
    """Call every listener of a psygnal signal; one that raises is logged and the others still hear."""
    if signal._is_blocked:
        return
    for slot in tuple(signal._slots):  # psygnal's own emit stops at the first listener that raises
        try:
            slot.cb(arguments)
        except Exception:
            _log.exception("a listener of %r raised", signal.name)


def _sentence(error: BaseException | None) -> str:
    """Return an error as one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
