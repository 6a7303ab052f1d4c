"""A run's folder says how far its training came and whether it goes on, so that nobody has to guess."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from math import isfinite
from pathlib import Path

from napari_vstain.core.errors import StorageError
from napari_vstain.core.files import write_text
from napari_vstain.core.locks import BEAT_S, STALE_S
from napari_vstain.core.owners import Owner

FILE = "status.json"
_SCHEMA_VERSION = 1


class RunState(StrEnum):
    """What became of a training."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    KILLED = "killed"
    """Found, never written: it says that it runs, and its process is dead."""


@dataclass(frozen=True)
class RunStatus:
    """How far a training came."""

    state: RunState
    epochs: int = 0
    """Finished."""
    epochs_asked: int | None = None
    """None when only steps or time end it."""
    best_loss: float | None = None
    """Lowest validation loss, or training loss without validation."""
    owner: str = ""
    """The process, as `Owner` writes it."""
    heartbeat: str = ""
    """When the process was last known to live, in ISO 8601."""
    reason: str = ""
    """Why it failed."""

    @property
    def ended(self) -> bool:
        """Whether it ended in order, by itself or by Stop."""
        return self.state in (RunState.COMPLETED, RunState.STOPPED)

    def __str__(self) -> str:
        """Return what happened, as the end of a sentence: ``was killed after 3 of 400 epochs``."""
        asked = f" of {self.epochs_asked}" if self.epochs_asked is not None else ""
        if self.state is RunState.RUNNING:
            owner = Owner.parse(self.owner)
            by = f" by {owner.shown}" if owner else ""
            return f"is being trained{by}, {self.epochs}{asked} epochs so far"
        verb = {RunState.COMPLETED: "was completed", RunState.FAILED: "failed"}.get(self.state, f"was {self.state}")
        return f"{verb} after {self.epochs}{asked} epochs{f' ({self.reason})' if self.reason else ''}"


def read_status(folder: Path) -> RunStatus | None:
    """Return what the run in `folder` says of itself, or None for a run from before there was such a file."""
    path = folder / FILE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        state = RunState(said["state"])
        known = {name: said[name] for name in ("epochs", "epochs_asked", "best_loss", "owner", "heartbeat", "reason")}
        status = RunStatus(state, **known)
        beat = path.stat().st_mtime
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    owner = Owner.parse(str(status.owner))
    lives = owner.lives() if owner else None
    dead = time.time() - beat > STALE_S if lives is None else not lives
    return replace(status, state=RunState.KILLED) if state is RunState.RUNNING and dead else status


def write_status(folder: Path, status: RunStatus) -> None:
    """Write what a run says of itself, atomically, with the time.

    Raises
    ------
    StorageError
        When the run's folder was deleted, or the disk takes no data.
    """
    check_there(folder)
    best = status.best_loss
    said = asdict(status) | {
        "schema_version": _SCHEMA_VERSION,
        "best_loss": best if best is not None and isfinite(best) else None,
        "heartbeat": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_text(folder / FILE, json.dumps(said, indent=1))


def check_there(folder: Path) -> None:
    """Raise StorageError when the folder of a run that is training was deleted, rather than make it again."""
    if not folder.is_dir():
        raise StorageError("run", folder, "its folder was deleted while it was training", "train again")


class StatusWriter:
    """Keeps a run's status up to date, and its heart beating on a thread of its own."""

    def __init__(self, folder: Path, status: RunStatus) -> None:
        self.folder, self.status = folder, status
        self._lock = threading.Lock()

    def say(self, **changes: object) -> None:
        """Change the status and write it; see `write_status`."""
        with self._lock:
            self.status = replace(self.status, **changes)  # type: ignore[arg-type]
            write_status(self.folder, self.status)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Inside, the heartbeat is written every so often, whatever the training does."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_S):
                with suppress(StorageError):  # the training itself will say so
                    self.say()

        thread = threading.Thread(target=beat, name="vstain-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
