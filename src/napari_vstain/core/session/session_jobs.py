"""The jobs of a session: started by whoever, kept until they end, stopped when the session or the program does."""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from napari_vstain.core.jobs import Job
from napari_vstain.core.jobs.job import Record
from napari_vstain.core.progress import Progress

T = TypeVar("T")
_alive: weakref.WeakSet[Job[Any]] = weakref.WeakSet()


class JobKind(StrEnum):
    """What a job is for, where a dock shows it and what came of it."""

    TRAIN = "train"
    PREDICT = "predict"
    EVALUATE = "evaluate"
    EXPORT = "export"


class Jobs:
    """Those that have not ended; when nobody holds it any more, they are asked to stop."""

    def __init__(self) -> None:
        self._all: list[Job[Any]] = []
        self._latest: dict[str, Job[Any]] = {}
        self._quiet: weakref.WeakSet[Job[Any]] = weakref.WeakSet()
        weakref.finalize(self, stop_jobs, self._all).atexit = False

    def running(self) -> list[Job[Any]]:
        """Return the jobs that have not ended."""
        self._all[:] = [job for job in self._all if job.running]
        return list(self._all)

    def announced(self) -> list[Job[Any]]:
        """Return those of them that are not quiet."""
        return [job for job in self.running() if job not in self._quiet]

    def latest(self, kind: str) -> Job[Any] | None:
        """Return the job of a kind that was started last, also when it has ended."""
        return self._latest.get(kind)

    def start(
        self, function: Callable[[Progress], T], name: str, *, quiet: bool = False,
        kind: str = "", asked: Mapping[str, Any] | None = None, record: Record | None = None,
    ) -> Job[T]:  # fmt: skip
        """Run a function in the background; the last one of a `kind` is kept for whoever shows what came of it."""
        job = Job(function, name, kind=kind, asked=asked, record=record)
        if kind:
            self._latest[kind] = job
        self._all[:] = [*self.running(), job]
        _alive.add(job)
        if quiet:
            self._quiet.add(job)
        job.start()
        return job

    def stop(self, timeout_s: float) -> bool:
        """Stop them all and wait at most `timeout_s`; return True if all ended."""
        return stop_jobs(self._all, timeout_s)


def stop_jobs(jobs: Iterable[Job[Any]], timeout_s: float = 0) -> bool:
    """Ask jobs to stop and wait for them at most `timeout_s` in all; return True if all ended."""
    running = [job for job in jobs if job.running]
    for job in running:
        job.stop()
    deadline = time.monotonic() + timeout_s
    for job in running:
        job.wait(max(deadline - time.monotonic(), 0))
    return not any(job.running for job in running)


@atexit.register
def _stop_at_exit() -> None:
    stop_jobs(list(_alive), timeout_s=4)
