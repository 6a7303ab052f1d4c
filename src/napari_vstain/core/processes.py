"""A verb in a child process reports, stops and fails as if it ran here, and never outlives its parent."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from napari_vstain.core import errors
from napari_vstain.core.errors import VstainError
from napari_vstain.core.progress import Cancelled, Progress

_log = logging.getLogger(__name__)
_STOPPED = 130
_LEASH = "VSTAIN_ENDS_WITH_PARENT"
"""Set in a child: it stops when its standard input, a pipe that only the parent holds, is closed."""
_TAIL_BYTES = 2**16
PATIENCE_S: Mapping[str, float] = {"train": 30.0}
"""How long a verb may take to save what it has after Stop, in seconds; the others have one second."""


class Rooted(Protocol):
    """A workspace."""

    @property
    def root(self) -> Path: ...


@dataclass(frozen=True)
class Product:
    """Something that the child handed out: the name and the plain values of a dataclass."""

    type: str
    values: Mapping[str, Any]


def run_verb_in_child(
    verb: str,
    config: Path,
    workspace: Rooted,
    progress: Progress,
    *,
    products: Mapping[str, Callable[..., object]] | None = None,
    patience_s: float | None = None,
) -> dict[str, Path]:
    """Run ``vstain <verb> -c <config>`` in a process of its own; return the paths of what it made.

    Parameters
    ----------
    config : Path
        The verb's settings file.
    products : mapping of name to class, optional
        What `progress.produce` gets for a dataclass of that name; others arrive as `Product`.
    patience_s : float, optional
        Stop asks the child to end at once, and kills it after this long; by default `PATIENCE_S`, else 1 s.

    Raises
    ------
    Cancelled
        When it was stopped; `Cancelled.kept` is the paths that it had said by then.
    VstainError
        What the child raised: same class, same parts. Its standard error is a note on it, which a traceback shows.
    """
    program = python_command("-m", __package__.split(".")[0], verb)
    options = ["-c", str(config), "--workspace", str(workspace.root), "--progress", "json"]
    patience = PATIENCE_S.get(verb, 1.0) if patience_s is None else patience_s
    return run_child([*program, *options], f"vstain {verb}", progress, products or {}, patience)


def python_command(*arguments: str) -> list[str]:
    """Return the command that starts this Python with no folder of the user's on its import path.

    With ``-m`` and ``-c`` Python looks in the current folder first: a file ``statistics.py`` that lies beside
    somebody's images would be run in the library's place.
    """
    return [sys.executable, "-P", *arguments]


def run_child(
    command: list[str],
    name: str,
    progress: Progress,
    products: Mapping[str, Callable[..., object]],
    patience_s: float,
) -> dict[str, Path]:
    """Run a command that prints JSON lines as ``vstain --progress json`` does; see `run_verb_in_child`."""
    progress.check()
    said = _Said(progress, products)
    with TemporaryFile() as written, _child(command, written) as process:
        with _stopped_with(progress, process, patience_s):
            assert process.stdout is not None
            for line in process.stdout:
                said.hear(line)
            code = process.wait()
        if progress.token.cancelled or (code == _STOPPED and said.error is None):
            raise Cancelled(said.paths or None)
        if code or said.error is not None:
            error = said.error or _unexplained(name, code, _tail(written))
            error.add_note(f"{name} wrote on standard error:\n{_tail(written)}")
            raise error
    return said.paths


def end_with_parent() -> None:
    """Stop this process, cleanly if that takes less than half a minute, when the one that started it is gone.

    Does nothing in a process that `run_verb_in_child` did not start.
    """
    if os.environ.get(_LEASH):
        threading.Thread(target=_wait_for_the_end, name="vstain-parent", daemon=True).start()


@dataclass
class _Said:
    """What the child has said so far; each line is passed on as it comes."""

    progress: Progress
    products: Mapping[str, Callable[..., object]]
    paths: dict[str, Path] = field(default_factory=dict)
    error: VstainError | None = None
    _phase: str = ""
    _done: float = 0

    def hear(self, line: str) -> None:
        """Take one line; what is no JSON object with an event is somebody's print, and logged."""
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            _log.debug("child said: %s", line.rstrip())
            return
        with suppress(Cancelled):  # the child is on its way out: hear what it still has to say
            self._take(kind, event)

    def _take(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "report":
            self._report(event)
        elif kind == "produced":
            self.progress.produce(self._product(event["type"], event["values"]))
        elif kind == "note":
            self.progress.note(event["message"])
        elif kind == "result":
            self.paths |= {name: Path(path) for name, path in event["paths"].items()}
        elif kind == "error":
            self.error = _error(event)

    def _report(self, report: dict[str, Any]) -> None:
        if report["phase"] != self._phase or report["done"] < self._done:
            self._phase, self._done = report["phase"], 0
            self.progress.phase(report["phase"], report["total"], report["unit"])
        done, self._done = report["done"] - self._done, report["done"]
        if done or report["message"]:
            self.progress.advance(done, report["message"])

    def _product(self, name: str, values: dict[str, Any]) -> object:
        return self.products[name](**values) if name in self.products else Product(name, values)


@contextmanager
def _child(command: list[str], written: IO[bytes]) -> Iterator["subprocess.Popen[str]"]:
    """Yield a running child in a group of its own; at the end none of the group is left, nor a zombie."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=written,
        env={**os.environ, _LEASH: "1", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"},
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
def _stopped_with(progress: Progress, process: "subprocess.Popen[str]", patience_s: float) -> Iterator[None]:
    """Inside, a cancelled token asks the child to stop at once, and kills it when that takes too long."""
    timer = threading.Timer(patience_s, _kill, [process])
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
    threading.Event().wait(max(PATIENCE_S.values()))
    os._exit(_STOPPED)


def _error(event: Mapping[str, Any]) -> VstainError:
    """Return the child's error in its own class, if that is one of ours."""
    kind = getattr(errors, event["type"], VstainError)
    known = isinstance(kind, type) and issubclass(kind, VstainError)
    return (kind if known else VstainError)(event["field"], event["value"], event["rule"], event["remedy"])


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
