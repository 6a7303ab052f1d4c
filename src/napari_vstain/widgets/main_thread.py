"""The only place that hops to the main thread: job queues are drained there, in slices of a few milliseconds."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from qtpy.QtCore import QObject, QTimer

from napari_vstain.core.jobs import EventKind, EventQueue, FinishReason, Job, JobEvent, JobStatus
from napari_vstain.core.progress import Progress

INTERVAL_MS = 66
"""Between two drains: 15 Hz."""
PROGRESS_TICKS = 4
"""Progress is shown at every fourth drain, of all jobs at once: each time the window repaints, canvas included."""
BUDGET_S = 0.004
"""Main-thread time of one drain; what is left waits for the next."""

_log = logging.getLogger(__name__)


class Starter(Protocol):
    """Whoever owns background jobs: a session."""

    def start(self, function: Callable[[Progress], Any], name: str, *, quiet: bool = False) -> Job[Any]: ...


@dataclass(eq=False)
class JobListener:
    """One listener of one job; `forget` ends it."""

    queue: EventQueue
    started: Callable[[], object] | None = None
    progressed: Callable[[JobStatus], object] | None = None
    produced: Callable[[Any], object] | None = None
    finished: Callable[[JobStatus], object] | None = None
    open: bool = True
    late: JobEvent | None = None
    """The last progress, which waits to be shown."""

    def forget(self) -> None:
        """Call nothing any more."""
        self.open = False
        self.started = self.progressed = self.produced = self.finished = None

    def deliver(self, event: JobEvent) -> None:
        """Call the callback of one event; one that raises is logged and disturbs nothing else."""
        callback, arguments = self._callback(event)
        self.open = self.open and event.kind is not EventKind.FINISHED
        try:
            if callback is not None:
                callback(*arguments)
        except Exception:
            _log.exception("a dock failed to show what a job did")

    def _callback(self, event: JobEvent) -> tuple[Callable[..., object] | None, tuple[Any, ...]]:
        if event.kind is EventKind.STARTED:
            return self.started, ()
        if event.kind is EventKind.PROGRESSED:
            return self.progressed, (event.status,)
        if event.kind is EventKind.PRODUCED:
            return self.produced, (event.item,)
        return self.finished, (event.status,)


class JobEventPump(QObject):
    """Calls back on the main thread what jobs report, 15 times a second, for at most 4 ms at a time.

    Its timer runs only while somebody listens. A job never waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slowest_s = 0.0
        """The longest that one callback took so far."""
        self._listeners: list[JobListener] = []
        self._ticks = 0
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.drain)

    def listen(self, job: Job[Any], owner: QObject | None = None, **callbacks: Any) -> JobListener:
        """Call `started`, `progressed`, `produced`, `finished` on the main thread until the job or `owner` is gone."""
        listener = JobListener(job.subscribe(), **callbacks)
        if owner is not None:
            owner.destroyed.connect(listener.forget)
        self._listeners.append(listener)
        self._timer.start()
        return listener

    def drain(self) -> None:
        """Deliver what waits, sharing the time budget between the listeners."""
        listeners = list(self._listeners)
        self._ticks += 1
        for listener in listeners:
            for event in listener.queue.drain(BUDGET_S / len(listeners)):
                if event.kind is EventKind.PROGRESSED:
                    listener.late = event
                else:
                    self._deliver(listener, event)
        if self._ticks % PROGRESS_TICKS == 0:
            for listener in listeners:
                late, listener.late = listener.late, None
                if late is not None and listener.open:
                    self._deliver(listener, late)
        self._listeners = [listener for listener in self._listeners if listener.open]
        if not self._listeners:
            self._timer.stop()

    def _deliver(self, listener: JobListener, event: JobEvent) -> None:
        began = time.perf_counter()
        listener.deliver(event)
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)

    def stop(self) -> None:
        """Forget everybody."""
        for listener in self._listeners:
            listener.forget()
        self._listeners.clear()
        self._timer.stop()

    def call(
        self,
        starter: Starter,
        function: Callable[[Progress], Any],
        then: Callable[[Any], object],
        failed: Callable[[BaseException], object],
        owner: QObject | None = None,
        name: str = "background call",
    ) -> Job[Any]:
        """Run `function` in a quiet job, then call `then(result)` or `failed(error)` on the main thread.

        When the job is stopped, neither is called.
        """
        job = starter.start(function, name, quiet=True)

        def answer(status: JobStatus) -> None:
            if status.reason is FinishReason.COMPLETED:
                then(job.result())
            elif status.reason is FinishReason.FAILED:
                failed(outcome_error(job))

        self.listen(job, owner, finished=answer)
        return job


class LatestOnly:
    """Numbers questions, so that a late answer to an old one can be told and dropped."""

    def __init__(self) -> None:
        self._number = 0

    def ask(self, then: Callable[[Any], object]) -> Callable[[Any], None]:
        """Return `then`, deaf as soon as the next question is asked."""
        self._number += 1
        number = self._number

        def answer(value: Any) -> None:
            if number == self._number:
                then(value)

        return answer

    def whole(self, steps: Iterator[None]) -> Iterator[None]:
        """Yield from `steps` until the next question is asked."""
        number = self._number
        for _ in steps:
            yield
            if number != self._number:
                return


def run_in_steps(owner: QObject, steps: Iterator[None], then: Callable[[], object]) -> None:
    """Run a chain of main-thread steps, one a turn of the event loop, then call `then`; ends with its owner."""
    timer = QTimer(owner)
    timer.setInterval(0)

    def step() -> None:
        try:
            next(steps)
        except StopIteration:
            timer.stop()
            timer.deleteLater()
            then()
        except Exception:
            timer.stop()
            timer.deleteLater()
            _log.exception("a dock failed to show what was loaded")

    timer.timeout.connect(step)
    timer.start()


def outcome_error(job: Job[Any]) -> BaseException:
    """Return what a failed job raised; it must have ended."""
    try:
        job.result()
    except BaseException as error:
        return error
    raise RuntimeError(f"job {job.name!r} did not fail")
