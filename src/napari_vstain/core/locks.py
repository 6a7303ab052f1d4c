"""One process at a time changes what a lock guards, also on network disks, and whoever dies with it is not waited for.

A lock is a folder that holds one file, named after its owner. It is taken by renaming a folder that already holds the
file, which no file system does twice; and a dead owner's lock by renaming that file, whose name nobody reuses, so that
of two takers exactly one succeeds. A dead process of this machine is recognised at once. Of another machine only its
heartbeat is seen: the time at which the file was last touched, by the clock of the disk.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from napari_vstain.core.errors import BusyError, StorageError
from napari_vstain.core.files import remove_leftovers, temporary_beside, writing
from napari_vstain.core.owners import Owner

BEAT_S = 15.0
STALE_S = 180.0
"""After how long without a heartbeat an owner on another machine counts as dead: far beyond the minute for which a
network disk may show an old time."""
_POLL_S = (0.002, 0.25)
_SUFFIX = ".lock"


class Holder(NamedTuple):
    """Who holds a lock."""

    owner: Owner
    since: float
    """When it was last known to live, in seconds since 1970, by the clock of the disk."""


class Lock:
    """A lock that is held; `check` says whether it still is."""

    def __init__(self, guarded: Path, folder: Path, owner: Owner) -> None:
        self.guarded, self.folder, self.owner = guarded, folder, owner

    def check(self) -> None:
        """Raise StorageError when another process has taken the lock, as after hours of sleep."""
        if not self._file.exists():
            rule = "was locked by this process, but another one took the lock, or the folder was deleted"
            raise StorageError("folder", self.guarded, rule, "run the same command again")

    def beat(self) -> None:
        """Show other machines that this process lives."""
        with suppress(OSError):
            os.utime(self._file)

    def give_back(self) -> None:
        """End it; raise StorageError when it was lost before."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            self.check()
        with suppress(OSError):  # somebody has it already
            self.folder.rmdir()

    @property
    def _file(self) -> Path:
        return self.folder / str(self.owner)


@contextmanager
def locked(path: Path, timeout_s: float = 300.0, waiting: Callable[[], None] | None = None) -> Iterator[Lock]:
    """Hold the lock of a file or folder, there already or not: everyone else who asks for it waits, threads included.

    Parameters
    ----------
    path : Path
        What is going to be changed. The lock lies beside it, or in it where only the folder itself can be written.
    timeout_s : float
        How long to wait for another process, in seconds; 0 tries once.
    waiting : callable, optional
        Called again and again while waiting, to raise Cancelled for instance.

    Raises
    ------
    BusyError
        When another process still holds it by then; the sentence names the process.
    StorageError
        When the folder takes no lock, or the lock was lost meanwhile.
    RuntimeError
        When this thread holds it already: it would wait for itself.
    """
    path = path.resolve()
    folder = _folder(path)
    asks = (os.getpid(), threading.get_ident(), folder)
    if asks in _held:
        raise RuntimeError(f"{path} is locked by this thread already")
    lock = _wait(path, folder, time.monotonic() + timeout_s, waiting)
    _held.add(asks)
    ended = threading.Event()
    try:
        threading.Thread(target=_keep_beating, args=(lock, ended), name="vstain-lock", daemon=True).start()
        yield lock
    finally:
        ended.set()
        _held.discard(asks)
        with writing(path.parent):
            lock.give_back()


def holder(path: Path) -> Holder | None:
    """Return who holds the lock of `path` and is not known to be dead, or None."""
    folder = _folder(path.resolve())
    found = _holder(folder)
    return None if found is None or _dead(found, time.time()) else found


_held: set[tuple[int, int, Path]] = set()
"""What each thread holds, by process, since a fork inherits the set but not the locks."""


def _folder(path: Path) -> Path:
    if path.is_dir() and not os.access(path.parent, os.W_OK):
        return path / _SUFFIX
    return path.with_name(f".{path.name}{_SUFFIX}")


def _wait(path: Path, folder: Path, until: float, waiting: Callable[[], None] | None) -> Lock:
    pause, longest = _POLL_S
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        while (owner := _take(folder)) is None:
            if waiting is not None:
                waiting()
            if time.monotonic() >= until:
                raise _busy(path, folder)
            time.sleep(pause)
            pause = min(2 * pause, longest)
        remove_leftovers(folder.parent)
    return Lock(path, folder, owner)


def _take(folder: Path) -> Owner | None:
    """Take the lock if it is free or its owner dead; return this process as its owner, else None."""
    prepared = temporary_beside(folder)
    owner = Owner.me()
    prepared.mkdir()
    mine = prepared / str(owner)
    try:
        mine.touch()
        now = mine.stat().st_mtime  # the disk's clock, by which the heartbeat of others is written too
        with suppress(OSError):
            prepared.rename(folder)
        if (folder / str(owner)).exists():  # a network disk may report a failure of what it did
            return owner
        found = _holder(folder)
        if found is None:
            with suppress(OSError):  # empty, as its owner died giving it back: some systems rename nothing over that
                folder.rmdir()
        elif _dead(found, now):
            theirs = folder / str(found.owner)
            with suppress(OSError):  # first the time, so that nobody takes the renamed one for as old as it was
                os.utime(theirs)
                theirs.rename(folder / str(owner))
            if (folder / str(owner)).exists():
                return owner
        return None
    finally:
        with suppress(FileNotFoundError):
            mine.unlink()
            prepared.rmdir()


def _holder(folder: Path) -> Holder | None:
    with suppress(FileNotFoundError, NotADirectoryError):
        for file in folder.iterdir():
            if (owner := Owner.parse(file.name)) is not None:
                return Holder(owner, file.stat().st_mtime)
    return None


def _dead(found: Holder, now: float) -> bool:
    lives = found.owner.lives()
    return now - found.since > STALE_S if lives is None else not lives


def _keep_beating(lock: Lock, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        lock.beat()


def _busy(path: Path, folder: Path) -> BusyError:
    found = _holder(folder)
    who = f"{found.owner.shown} is changing it" if found else "another process was changing it until now"
    return BusyError("folder" if path.is_dir() else "file", path, who, "wait for it to end, or stop it")
