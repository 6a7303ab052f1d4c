"""A store is built under a hidden name and takes its own only when it is whole."""

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

    Raises
    ------
    DatasetError
        When `path` is there already.
    StorageError
        When the folder or the disk takes no data.
    """
    if path.exists():
        raise DatasetError("dataset", path, "is there already", "choose another name")
    temporary = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.partial")  # no .zarr: it is listed nowhere
    try:
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
