"""What happens in a job, queued for whoever looks later: a slow window never slows a training."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Any

from napari_vstain.core.jobs.status import JobStatus


class EventKind(StrEnum):
    """What happened in a job."""

    STARTED = "started"
    PROGRESSED = "progressed"
    PRODUCED = "produced"
    FINISHED = "finished"


@dataclass(frozen=True)
class JobEvent:
    """One thing that happened in a job: `status` right after it, and for PRODUCED the `item`."""

    kind: EventKind
    status: JobStatus
    item: Any = None


class EventQueue:
    """One subscriber's unbounded queue: of several PROGRESSED in a row only the last is kept, all else is."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._events: deque[JobEvent] = deque()

    def put(self, event: JobEvent) -> None:
        """Add an event; never waits for the subscriber."""
        with self._lock:
            if event.kind is EventKind.PROGRESSED and self._events and self._events[-1].kind is event.kind:
                self._events[-1] = event
            else:
                self._events.append(event)

    def drain(self, budget_s: float = float("inf")) -> Iterator[JobEvent]:
        """Yield waiting events, oldest first, until none is left or `budget_s` is spent; the rest stay."""
        deadline = time.perf_counter() + budget_s
        while (event := self._pop()) is not None:
            yield event
            if time.perf_counter() >= deadline:
                return

    def _pop(self) -> JobEvent | None:
        with self._lock:
            return self._events.popleft() if self._events else None
