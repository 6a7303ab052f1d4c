"""A child process reports, stops and fails as if its work ran here, and never outlives its parent."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

from napari_vstain.core.errors import VstainError
from napari_vstain.core.progress import Cancelled, Progress, Report
from napari_vstain.core.wire import Event, Note, Produced, Returned, WireRecord, decode

_log = logging.getLogger(__name__)
STOPPED = 130
"""The exit code of a process that was stopped."""
PARENT_PIPE = "VSTAIN_ENDS_WITH_PARENT"
"""Set in a child: it stops when its standard input, a pipe that only the parent holds, is closed."""
_TAIL_BYTES = 2**16
GRACE_S: Mapping[str, float] = {"train": 30.0}
"""How long a stage may take to save what it has after Stop, in seconds; the others have one second."""


def python_command(*arguments: str) -> list[str]:
    """Return the command that starts this Python with no folder of the user's on its import path.

    With ``-m`` and ``-c`` Python looks in the current folder first: a file ``statistics.py`` that lies beside
    somebody's images would be run in the library's place.
    """
    return [sys.executable, "-P", *arguments]


def run_child(command: list[str], name: str, output: "ChildOutput", grace_s: float) -> None:
    """Run a command that prints the lines of `wire`, and let `output` take them as they come.

    Stop asks the child to end at once, and kills it after `grace_s` seconds.

    Raises
    ------
    Cancelled
        When it was stopped; `Cancelled.kept` is the result that it had said by then.
    VstainError
        What the child raised: same class, same parts. Its standard error is a note on it, which a traceback shows.
    """
    progress = output.progress
    progress.check()
    with TemporaryFile() as written, _child(command, written) as process:
        with _stopped_with(progress, process, grace_s):
            assert process.stdout is not None
            for line in process.stdout:
                output.hear(line)
            code = process.wait()
        if progress.token.cancelled or (code == STOPPED and output.error is None):
            raise Cancelled(output.result)
        if code or output.error is not None:
            error = output.error or _unexplained(name, code, _tail(written))
            error.add_note(f"{name} wrote on standard error:\n{_tail(written)}")
            raise error


def end_with_parent() -> None:
    """Stop this process, cleanly if that takes less than half a minute, when the one that started it is gone.

    Does nothing in a process that `run_child` did not start.
    """
    if os.environ.get(PARENT_PIPE):
        threading.Thread(target=_wait_for_the_end, name="vstain-parent", daemon=True).start()


@dataclass
class ChildOutput:
    """What the child has said so far; each line is passed on as it comes."""

    progress: Progress
    products: Mapping[str, type[Any]] = field(default_factory=dict)
    """The classes that what it produces is handed on in, by name; anything else is handed on as a record."""
    result: WireRecord | None = None
    error: VstainError | None = None
    _phase: str = ""
    _done: float = 0

    def hear(self, line: str) -> None:
        """Take one line; what is no event is somebody's print, and logged."""
        event = decode(line)
        if event is None:
            _log.debug("child said: %s", line.rstrip())
            return
        with suppress(Cancelled):  # the child is on its way out: hear what it still has to say
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Report():
                self._report(event)
            case Produced(item):
                self.progress.produce(item.to(self.products[item.name]) if item.name in self.products else item)
            case Note(message):
                self.progress.note(message)
            case Returned(result):
                self.result = result
            case VstainError():
                self.error = event

    def _report(self, report: Report) -> None:
        if report.phase != self._phase or report.done < self._done:
            self._phase, self._done = report.phase, 0
            self.progress.phase(report.phase, report.total, report.unit)
        done, self._done = report.done - self._done, report.done
        if done or report.message:
            self.progress.advance(done, report.message)


@contextmanager
def _child(command: list[str], written: IO[bytes]) -> Iterator["subprocess.Popen[str]"]:
    """Yield a running child in a group of its own; at the end none of the group is left, nor a zombie."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=written,
        env={**os.environ, PARENT_PIPE: "1", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    reaper = threading.Thread(target=_reap, args=(process,), name="vstain-reaper", daemon=True)
    reaper.start()
    try:
        yield process
    finally:
        _kill(process)
        reaper.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _reap(process: "subprocess.Popen[str]") -> None:
    """Wait for the child, then end what it started: a grandchild would hold its pipes open."""
    process.wait()
    _kill(process)


@contextmanager
def _stopped_with(progress: Progress, process: "subprocess.Popen[str]", grace_s: float) -> Iterator[None]:
    """Inside, a cancelled token asks the child to stop at once, and kills it when that takes too long."""
    timer = threading.Timer(grace_s, _kill, [process])
    timer.daemon = True

    def stop() -> None:
        _ask_to_stop(process)
        timer.start()

    forget = progress.token.on_cancel(stop)
    try:
        yield
    finally:
        forget()
        timer.cancel()


def _ask_to_stop(process: "subprocess.Popen[str]") -> None:
    if os.name == "posix":
        process.terminate()
    elif process.stdin is not None:
        process.stdin.close()


def _kill(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _wait_for_the_end() -> None:
    with suppress(OSError):
        while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 1024):
            pass
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGINT)
    threading.Event().wait(max(GRACE_S.values()))
    os._exit(STOPPED)


def _unexplained(name: str, code: int, said: str) -> VstainError:
    """Return an error for a child that ended without one: killed, out of memory, crashed."""
    *_, last = ["", *said.strip().splitlines()]
    ended = f"was killed by signal {-code}, as when memory runs out" if code < 0 else f"ended with code {code}"
    rule = f"{ended}: {last.strip()[:300]}" if last else ended
    return VstainError(name, None, rule, "run the same settings with `vstain` in a terminal to see more")


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return file.read().decode("utf-8", "replace")
