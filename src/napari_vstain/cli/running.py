"""Run a stage in front of a terminal: its progress is shown, one Ctrl-C stops it cleanly, a second at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from napari_vstain.cli.terminal import Display
from napari_vstain.core.jobs import EventKind, EventQueue, Job, JobEvent
from napari_vstain.core.progress import Progress

T = TypeVar("T")
STOPPED = 130
"""The exit code of a program that Ctrl-C ended."""
_POLL_S = 0.1
_STOPPING = "Stopping: what is done so far is kept. Press Ctrl-C again to stop at once."


def run_shown(function: Callable[[Progress], T], name: str, display: Display) -> T:
    """Return what `function` returns, while `display` shows how far it is.

    The work runs on a job's thread, so that Ctrl-C is heard even in the middle of a batch.

    Raises
    ------
    Cancelled
        When it was stopped; `Cancelled.kept` is what it had saved by then.
    """
    job = Job(function, name)
    queue = job.subscribe()
    with _terminated_like_interrupted():
        try:
            job.start()
            _follow(job, queue, display)
        except KeyboardInterrupt:
            _stop(job, queue, display)
    return job.result()


def _stop(job: Job[Any], queue: EventQueue, display: Display) -> None:
    job.stop()
    try:
        display.note(_STOPPING)
        _follow(job, queue, display)
    except KeyboardInterrupt:
        display.close()
        os._exit(STOPPED)


def _follow(job: Job[Any], queue: EventQueue, display: Display) -> None:
    while not job.wait(_POLL_S):
        _show(queue, display)
    _show(queue, display)


def _show(queue: EventQueue, display: Display) -> None:
    for event in queue.drain():
        _show_event(event, display)


def _show_event(event: JobEvent, display: Display) -> None:
    if event.kind is EventKind.PROGRESSED:
        display.show(event.status)
    elif event.kind is EventKind.PRODUCED:
        display.item(event.item)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM, as a cluster or a parent process sends it, stop the work as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
