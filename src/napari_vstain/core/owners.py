"""A lock or a temporary file says in its name which process made it, so that others can tell when nobody needs it."""

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

_CLOCK_S = 2
"""How far two readings of when a process began may be apart: systems derive it from a clock that is corrected."""


@dataclass(frozen=True)
class Owner:
    """A process, at one moment: what it makes is its own, and told from what it makes at another moment.

    A process number means something only on one machine, since it was started and within one container; `machine`
    and `boot` name where. ModelNotes nobody can tell whether the process still runs.
    """

    machine: str
    """The machine's name, without its domain."""
    boot: str
    """Digest of when the machine was started and of the container; empty where the system does not tell."""
    pid: int
    began: int
    """When the process was started, in seconds since 1970."""
    unique: str

    @classmethod
    def me(cls) -> "Owner":
        """Return this process, now."""
        return cls(*_here(), os.getpid(), _began(os.getpid()), uuid4().hex[:8])

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Return what `str` wrote, or None for any other text."""
        if (found := _WRITTEN.fullmatch(text)) is None:
            return None
        machine, boot, pid, began, unique = found.groups()
        return cls(machine, boot, int(pid), int(began), unique)

    def __str__(self) -> str:
        return f"{self.machine}~{self.boot}~{self.pid}~{self.began}~{self.unique}"

    @property
    def shown(self) -> str:
        """The process in a sentence: ``process 4711 on lab-pc``."""
        return f"process {self.pid} on {self.machine}"

    def lives(self) -> bool | None:
        """Return whether the process still runs, or None when that cannot be told from here."""
        import psutil

        if (self.machine, self.boot) != _here():
            return None
        try:
            process = psutil.Process(self.pid)
            return bool(
                process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.began) <= _CLOCK_S
            )
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return None


_WRITTEN = re.compile(r"([\w-]*)~(\w*)~(\d+)~(\d+)~(\w+)", re.ASCII)


@cache
def _here() -> tuple[str, str]:
    told = [_read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")]
    boot = hashlib.sha256("".join(told).encode()).hexdigest()[:8] if any(told) else ""
    return re.sub(r"[^\w-]", "-", platform.node().partition(".")[0], flags=re.ASCII)[:40], boot


@cache
def _began(pid: int) -> int:
    """Return when this process, of number `pid`, was started; by number, since a fork inherits what is cached."""
    import psutil  # here: importing it takes 20 ms, which whoever only reads need not wait for

    return int(psutil.Process(pid).create_time())


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
