"""A store is built under a hidden name and takes its own only when it is whole."""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import writing


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` that is renamed to it when the block ends well, and deleted when it does not.

    What a process of this machine left behind that was killed meanwhile, under the same name, is deleted too.

    Raises
    ------
    DatasetError
        When `path` is there already.
    StorageError
        When the folder or the disk takes no data.
    """
    if path.exists():
        raise DatasetError("dataset", path, "is there already", "choose another name")
    for orphan in _orphans(path):
        shutil.rmtree(orphan, ignore_errors=True)
    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}-{uuid4().hex[:8]}.partial")  # no .zarr: listed nowhere
    try:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prefix(path: Path) -> str:
    return f".{path.stem}.{platform.node()}."


def _orphans(path: Path) -> Iterator[Path]:
    """Yield the half-built folders of `path` whose process is gone."""
    prefix = _prefix(path)
    for folder in path.parent.glob(".*.partial"):
        number = folder.name.removeprefix(prefix).partition("-")[0]
        if folder.name.startswith(prefix) and number.isdigit() and not _lives(int(number)):
            yield folder


def _lives(process: int) -> bool:
    """Return False when no such process runs here; Windows cannot be asked without ending it."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
