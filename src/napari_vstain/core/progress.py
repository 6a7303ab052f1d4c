"""What a stage reports while it runs, and the token it asks whether to go on."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import Protocol


class Cancelled(Exception):
    """The user asked the work to stop: not an error, and never swallowed by a stage.

    Parameters
    ----------
    kept : object
        What the stage had made and saved by then (its `Result`), or None.
    """

    def __init__(self, kept: object = None) -> None:
        super().__init__("stopped")
        self.kept = kept


class CancelToken:
    """A flag that any thread may raise once, and that work checks between batches and tiles."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._callbacks: list[Callable[[], object]] = []

    @property
    def cancelled(self) -> bool:
        """True once `cancel` was called."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Ask the work to stop; returns at once, and does nothing the second time."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._event.set()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise Cancelled if the work was asked to stop."""
        if self.cancelled:
            raise Cancelled

    def wait(self, timeout_s: float) -> bool:
        """Sleep at most `timeout_s`; return True as soon as the work is asked to stop."""
        return self._event.wait(timeout_s)

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` from the cancelling thread, or now if it is too late; return what forgets it.

        For engines that can be interrupted in the middle of a tile.
        """
        with self._lock:
            if not self.cancelled:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


@dataclass(frozen=True)
class Report:
    """How far a phase of the work has come."""

    phase: str = ""
    done: float = 0
    total: float | None = None
    """None when it is not known how much there is to do."""
    unit: str = ""
    message: str = ""


class ProgressSink(Protocol):
    """Who listens to a stage: a job, a terminal, a test. Called from the stage's own thread."""

    def reported(self, report: Report) -> None: ...

    def produced(self, item: object) -> None: ...


class Silent:
    """A sink that listens to nothing."""

    def reported(self, report: Report) -> None:
        """Ignore the report."""

    def produced(self, item: object) -> None:
        """Ignore the item."""


class Progress:
    """A stage's only contact with whoever runs it. Every call but `produce` checks the token first."""

    def __init__(self, token: CancelToken | None = None, sink: ProgressSink | None = None) -> None:
        self.token = token or CancelToken()
        self._sink = sink or Silent()
        self._report = Report()

    def check(self) -> None:
        """Raise Cancelled if the work was asked to stop."""
        self.token.check()

    def phase(self, name: str, total: float | None = None, unit: str = "") -> None:
        """Begin a phase of `total` units of work."""
        self._say(Report(name, 0, total, unit))

    def advance(self, amount: float = 1, message: str = "") -> None:
        """Say that `amount` more units of this phase are done."""
        now = self._report
        self._say(Report(now.phase, now.done + amount, now.total, now.unit, message or now.message))

    def note(self, message: str) -> None:
        """Say something about the work without counting it as progress."""
        now = self._report
        self._say(Report(now.phase, now.done, now.total, now.unit, message))

    def produce(self, item: object) -> None:
        """Hand out something finished: a tile, a loss, a table. Never raises Cancelled."""
        self._sink.produced(item)

    def _say(self, report: Report) -> None:
        self.check()
        self._report = report
        self._sink.reported(report)
