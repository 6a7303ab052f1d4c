"""A store is built under a hidden name and takes its own only when it is whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import remove_leftovers, temporary_beside, writing


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` that is renamed to it when the block ends well, and deleted when it does not.

    What dead processes left in that folder is deleted too.

    Raises
    ------
    DatasetError
        When `path` is there already.
    StorageError
        When the folder or the disk takes no data.
    """
    if path.exists():
        raise DatasetError("dataset", path, "is there already", "choose another name")
    remove_leftovers(path.parent)
    temporary = temporary_beside(path)  # its name has another suffix: listed nowhere
    try:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
