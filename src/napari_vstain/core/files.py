"""Files are written whole or not at all, and a disk that refuses says so in one sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import platformdirs

from napari_vstain.core.errors import StorageError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("your disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the disk is read-only", "choose another folder"),
    errno.EACCES: ("you may not write there", "choose another folder or ask for permission"),
    errno.EPERM: ("you may not write there", "choose another folder or ask for permission"),
}


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
    """Yield a temporary path beside `path` that replaces it when the block ends well, else vanishes."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
        try:
            yield temporary
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


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


def _flush(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
