"""Whose networks a model file may name on this computer, beyond the known packages': this user's own list.

A package gets onto the list when the user trains one of its networks, which runs its code anyway, or writes its name
into the file. What lies in a workspace, or in a model file, allows nothing: it may come from somebody else.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from napari_vstain.core.files import write_text, writing

_HEADER = "# Packages whose networks a model file may name on this computer, one a line. Those you train are added."


def allowed_file() -> Path:
    """Return the file of the list, in $VSTAIN_CONFIG or where this system keeps settings; it need not be there."""
    root = os.environ.get("VSTAIN_CONFIG") or platformdirs.user_config_dir("napari-vstain", appauthor=False)
    return Path(root) / "allowed_packages.txt"


def allowed_packages() -> tuple[str, ...]:
    """Return the packages on the list; lines that are no names of packages are passed over.

    Raises
    ------
    StorageError
        When the file is there and cannot be read.
    """
    path = allowed_file()
    if not path.is_file():
        return ()
    with writing(path):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = (line.partition("#")[0].strip() for line in lines)
    return tuple(name for name in names if name and all(part.isidentifier() for part in name.split(".")))


def allow(packages: Iterable[str]) -> None:
    """Add packages to the list.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    known = allowed_packages()
    new = [name for name in dict.fromkeys(packages) if name not in known]
    if new:
        path = allowed_file()
        before = path.read_text(encoding="utf-8", errors="replace").rstrip("\n") if path.is_file() else _HEADER
        write_text(path, "\n".join([before, *new]) + "\n")


def class_paths(config: Any) -> Iterator[str]:
    """Yield every import path that a network's configuration names, its arguments' too."""
    if isinstance(config, Mapping):
        if isinstance(config.get("class_path"), str):
            yield config["class_path"]
        for value in config.values():
            yield from class_paths(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from class_paths(value)
