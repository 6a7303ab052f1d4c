"""Attributes of a dataset or a position: in the store where it is ours to write, else in the workspace's sidecar."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from napari_vstain.core.data.zarr_groups import read_attributes, refuse_read_only, write_attribute
from napari_vstain.core.errors import DatasetError, StorageError
from napari_vstain.core.files import write_text
from napari_vstain.core.locks import locked
from napari_vstain.core.workspace import Workspace

OURS = "vstain"
"""The top-level key that holds all our metadata but the normalization."""
SCHEMA_VERSION = 1
_UNTOUCHED = "untouched"
"""A file of this name in the sidecar of a store in the workspace keeps the store itself from being written."""


class Node(Protocol):
    """What has attributes: a dataset or a position."""

    def attribute(self, key: str) -> Any | None: ...

    def change_attribute(self, key: str, change: Callable[[Any | None], Any]) -> None: ...


@dataclass(frozen=True)
class AttributeStore:
    """Where the attributes of one store live.

    Without a workspace, or for a store inside it, they are the store's own. A store elsewhere, or one that is to be
    kept untouched, is never written: what is said of it goes to the workspace's sidecar, which wins when read.
    """

    root: Path
    """The folder of the whole store."""
    workspace: Workspace | None = None

    def get(self, path: str, key: str) -> Any | None:
        """Return the value of a top-level key of the group at `path` in the store, or None."""
        if (beside := self._sidecar(path)) is not None:
            noted = _read(beside)
            if key in noted and self._is_of(noted):
                return noted[key]
        return read_attributes(self.root / path).get(key)

    def set(self, path: str, key: str, value: Any) -> None:
        """Set a whole top-level key; see `change`."""
        self.change(path, key, lambda _: value)

    def change(self, path: str, key: str, change: Callable[[Any | None], Any]) -> None:
        """Replace a whole top-level key by what `change` makes of its value, or of None, atomically.

        No other process changes the store meanwhile, so that nothing which another one says is lost.

        Raises
        ------
        StorageError
            When the store cannot be written and there is no workspace, or another store of that name has the sidecar.
        """
        beside = self._sidecar(path)
        if beside is None:
            refuse_read_only(self.root / path)
        with locked(beside or self.root):
            if beside is None:
                value = change(read_attributes(self.root / path).get(key))
                write_attribute(self.root / path, key, value, root=self.root)
            else:
                self._note(beside, key, change(self.get(path, key)))

    def keep_untouched(self) -> None:
        """Have all that is said of the store go to the workspace's sidecar from now on, also where it may be written.

        Raises
        ------
        StorageError
            When there is no workspace to keep it.
        """
        if self.workspace is None:
            raise StorageError("dataset", self.root, "is written itself without a workspace", "make a workspace first")
        write_text(
            self.workspace.sidecar(self.root) / _UNTOUCHED, "What is said of this dataset stays in this folder.\n"
        )

    def _note(self, beside: Path, key: str, value: Any) -> None:
        noted = _read(beside)
        if "store" in noted and not self._is_of(noted):
            rule = f"the workspace already keeps notes on {noted['store']} under this name"
            raise StorageError("dataset", self.root, rule, "rename one of the two stores")
        text = json.dumps({**noted, "store": str(self.root), key: value}, indent=2, ensure_ascii=False)
        write_text(beside, text)

    def _is_of(self, noted: Mapping[str, Any]) -> bool:
        """Return True if notes are on this store, however its path was spelled when they were taken."""
        store = noted.get("store")
        return isinstance(store, str) and Path(store).resolve() == self.root.resolve()

    def _sidecar(self, path: str) -> Path | None:
        """Return the file for what is said of a store that is not in the workspace, wherever a link to it lies."""
        if self.workspace is None:
            return None
        beside = self.workspace.sidecar(self.root)
        if self.root.resolve().is_relative_to(self.workspace.root.resolve()) and not (beside / _UNTOUCHED).is_file():
            return None
        return beside / path / "attributes.json"


def record(node: Node, **values: Any) -> None:
    """Store `values` under our own key, ``vstain``, keeping what else is there."""
    node.change_attribute(OURS, lambda known: {**mapping(known), "schema_version": SCHEMA_VERSION, **values})


def change_record(node: Node, key: str, change: Callable[[Any | None], Any]) -> None:
    """Replace ``vstain.<key>`` by what `change` makes of it, alone among processes."""

    def changed(known: Any) -> dict[str, Any]:
        kept = mapping(known)
        return {**kept, "schema_version": SCHEMA_VERSION, key: change(kept.get(key))}

    node.change_attribute(OURS, changed)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, as our attributes are, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def recorded(node: Node, key: str) -> Any | None:
    """Return what `record` stored under ``vstain.<key>``, or None."""
    return mapping(node.attribute(OURS)).get(key)


def _read(path: Path) -> dict[str, Any]:
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DatasetError("notes", path, "cannot be read", "restore the file, or delete it") from error
    return noted if isinstance(noted, dict) else {}
