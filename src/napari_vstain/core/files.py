"""Files are written whole or not at all; what a disk refuses, or a file holds, is said in one sentence."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import platformdirs

from napari_vstain.core.errors import DatasetError, StorageError, VstainError, printable
from napari_vstain.core.owners import Owner

_TEMPORARY = ".partial"
_FORGOTTEN_S = 7 * 24 * 3600

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("your disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the disk is read-only", "choose another folder"),
    errno.EACCES: ("you may not write there", "choose another folder or ask for permission"),
    errno.EPERM: ("you may not write there", "choose another folder or ask for permission"),
}


@contextmanager
def reading(
    field: str,
    value: object,
    rule: str = "cannot be read",
    remedy: str = "restore it from a copy, or choose another",
    *,
    kind: type[VstainError] = DatasetError,
    because: bool = True,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turn *whatever* is raised inside into one sentence of class `kind`, with the exception as its cause.

    For narrow blocks that do nothing but parse what comes from outside, with libraries that raise what they like:
    a list of their exceptions is never complete. Errors that are sentences already pass as they are.

    Parameters
    ----------
    field, value, rule, remedy
        As `VstainError` takes them. A file that is not there, may not be read, is nested too deeply or states sizes
        beyond the memory has a rule and a remedy of its own.
    kind : type
        The class that is raised.
    because : bool
        Put the first line of the exception behind the rule, in brackets.
    passing : tuple of type
        What is no fault of the file, and passes as it is: being stopped, running out of a device's memory.
    """
    not_provoked: tuple[type[Exception], ...] = (VstainError, NameError, ImportError, *passing)
    try:
        yield
    except not_provoked:
        raise
    except Exception as error:
        known = _known_trouble(error)
        said = first_line(error) if because else ""
        rule, remedy = known or (f"{rule} ({said})" if said else rule, remedy)
        raise kind(field, value, rule, remedy) from error


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn an OSError raised inside into a StorageError that names `path`."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        rule, remedy = _REASONS.get(error.errno or 0, (error.strerror or str(error), "check the folder"))
        raise StorageError("folder", Path(path), rule, remedy) from error


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well, else vanishes.

    What dead processes left in that folder goes too.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary = temporary_beside(path)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a new hidden name in the folder of `path` that says which process will make it."""
    return path.with_name(f".{path.name[:40]}.{Owner.me()}{_TEMPORARY}")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders in `folder` whose process is dead.

    One of another machine, of which nobody here can tell, goes when it was not written to for a week.
    """
    for path in folder.glob(f".*{_TEMPORARY}"):
        owner = Owner.parse(path.name.removesuffix(_TEMPORARY).rpartition(".")[2])
        with suppress(OSError):  # another process removes it too
            if owner is None or _needed(owner, path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, atomically."""
    with atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_writable(folder: Path) -> None:
    """Raise StorageError unless a file can be made in `folder`, which is created when missing."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, prefix=".vstain-"):
            pass


def cache_folder(name: str) -> Path:
    """Return the folder `name` for what can be made again, in $VSTAIN_CACHE or where this system keeps caches."""
    root = os.environ.get("VSTAIN_CACHE") or platformdirs.user_cache_dir("napari-vstain", appauthor=False)
    return Path(root) / name


def state_folder(name: str) -> Path:
    """Return the folder `name` for what is remembered of a user's work, in $VSTAIN_STATE or where this system does."""
    root = os.environ.get("VSTAIN_STATE") or platformdirs.user_state_dir("napari-vstain", appauthor=False)
    return Path(root) / name


def _known_trouble(error: Exception) -> tuple[str, str] | None:
    """Return the rule and the remedy of what is the same for every kind of file, or None."""
    if isinstance(error, FileNotFoundError):
        return "is not there", "check the path"
    if isinstance(error, PermissionError):
        return "may not be read by you", "ask for permission"
    if isinstance(error, IsADirectoryError):
        return "is a folder", "choose a file"
    if isinstance(error, RecursionError):
        return "is nested too deeply to be read", "restore it from a copy, or choose another"
    if isinstance(error, MemoryError):
        return "asks for more memory than there is", "check the sizes that it states, or free some memory"
    return None


def first_line(error: Exception) -> str:
    """Return what an exception says, on one line that can be printed, at most 200 characters."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return plainly(printable(line.strip()))[:200].rstrip(".")


def plainly(text: str) -> str:
    """Return what a library says without its surprise: an "unexpected" thing is a fault of ours to a reader."""
    return text.replace("unexpected keyword", "unknown keyword").replace("unexpected end", "early end")


def _flush(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def _needed(owner: Owner, path: Path) -> bool:
    lives = owner.lives()
    return time.time() - path.stat().st_mtime < _FORGOTTEN_S if lives is None else lives
