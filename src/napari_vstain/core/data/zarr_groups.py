"""The groups of an OME-Zarr on disk: their attributes are read straight from JSON and written whole, with no zarr."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from threading import Lock
from typing import Any

from napari_vstain.core.errors import DatasetError, StorageError
from napari_vstain.core.files import reading, write_text, writing

Attributes = dict[str, Any]
_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_PARTS = ("multiscales", "omero", "plate", "well", "bioformats2raw.layout", "series")
_lock = Lock()


def is_node(folder: Path) -> bool:
    """Return True if `folder` holds a zarr group or array of either format."""
    return any((folder / name).is_file() for name in _METADATA)


def read_attributes(folder: Path) -> Attributes:
    """Return the attributes of the group at `folder`, of zarr format 2 or 3.

    Raises
    ------
    DatasetError
        When there is no group, or its metadata cannot be read.
    """
    if (folder / "zarr.json").is_file():
        return _group_attributes(_read_json(folder / "zarr.json"), folder)
    if (folder / ".zattrs").is_file() and not (folder / ".zarray").is_file():
        return _read_json(folder / ".zattrs")
    _refuse_other_things(folder)
    return {}


def ome_attributes(attributes: Mapping[str, Any]) -> Attributes:
    """Return what OME-NGFF says: under ``ome`` from version 0.5 on, at the top before.

    Some writers of 0.5 leave parts at the top: they count where ``ome`` does not have them itself.
    """
    inner = attributes.get("ome")
    if not isinstance(inner, dict):
        return dict(attributes)
    return {**{part: attributes[part] for part in _PARTS if part in attributes}, **inner}


def check_codecs(folder: Path) -> None:
    """Raise DatasetError when reading the array at `folder` would run code that it brings along: a pickle."""
    for name in ("zarr.json", ".zarray"):
        if (folder / name).is_file() and _names_pickle(_read_json(folder / name)):
            raise DatasetError("image", folder, "is stored as Python objects, which may run code", "convert it")


def write_attribute(folder: Path, key: str, value: Any, *, root: Path | None = None) -> None:
    """Set one whole top-level key of the group at `folder`, atomically; all other keys stay.

    Consolidated metadata that the store keeps at its `root` is changed too, so that no reader sees the old value.
    """
    with _lock:
        attributes = {**read_attributes(folder), key: value}
        _write_attributes(folder, attributes)
        if root is not None:
            _update_consolidated(root, folder, attributes)


def is_consolidated(root: Path) -> bool:
    """Return True if a store keeps a copy of all its metadata at its root."""
    if (root / ".zmetadata").is_file():
        return True
    return (root / "zarr.json").is_file() and bool(_read_json(root / "zarr.json").get("consolidated_metadata"))


def create_group(folder: Path, attributes: Attributes, zarr_format: int) -> None:
    """Make a group, or replace the attributes of the one that is there."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if zarr_format == 3:
        old = _read_json(folder / "zarr.json") if (folder / "zarr.json").is_file() else {}
        _write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", **old, "attributes": attributes})
    else:
        _write_json(folder / ".zgroup", {"zarr_format": 2})
        _write_json(folder / ".zattrs", attributes)


def is_writable(folder: Path) -> bool:
    """Return True if the group may be changed: by its permission bits too, which the superuser can pass by."""
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def refuse_read_only(folder: Path) -> None:
    """Raise StorageError unless the group may be changed."""
    if not is_writable(folder):
        raise StorageError(
            "folder", folder, "you may not write there", "open it with a workspace, which keeps notes on it"
        )


def _write_attributes(folder: Path, attributes: Attributes) -> None:
    refuse_read_only(folder)
    if (folder / "zarr.json").is_file():
        _write_json(folder / "zarr.json", {**_read_json(folder / "zarr.json"), "attributes": attributes})
    else:
        _write_json(folder / ".zattrs", attributes)


def _update_consolidated(root: Path, folder: Path, attributes: Attributes) -> None:
    path = folder.relative_to(root).as_posix()
    if (root / ".zmetadata").is_file():
        whole = _read_json(root / ".zmetadata")
        key = ".zattrs" if path == "." else f"{path}/.zattrs"
        if isinstance(whole.get("metadata"), dict):
            whole["metadata"][key] = attributes
            _write_json(root / ".zmetadata", whole)
    elif (root / "zarr.json").is_file() and path != ".":
        whole = _read_json(root / "zarr.json")
        entries = (whole.get("consolidated_metadata") or {}).get("metadata", {})
        if path in entries:
            entries[path]["attributes"] = attributes
            _write_json(root / "zarr.json", whole)


def _group_attributes(metadata: Attributes, folder: Path) -> Attributes:
    if metadata.get("node_type") == "array":
        _refuse_array(folder)
    attributes = metadata.get("attributes", {})
    if not isinstance(attributes, dict):
        raise DatasetError("dataset", folder, "has metadata that cannot be read", "restore its zarr.json")
    return attributes


def _refuse_other_things(folder: Path) -> None:
    if (folder / ".zgroup").is_file():
        return
    if (folder / ".zarray").is_file():
        _refuse_array(folder)
    if not folder.exists():
        raise DatasetError("dataset", folder, "is not there", "check the path")
    if folder.is_file():
        raise _no_folder(folder)
    rule = "is no OME-Zarr: it holds no zarr.json or .zgroup"
    raise DatasetError("dataset", folder, rule, "choose the .zarr folder, or make one with `vstain import`")


def _no_folder(file: Path) -> DatasetError:
    with reading("dataset", file), file.open("rb") as handle:
        packed = handle.read(4) == b"PK\x03\x04"
    if not packed:
        return DatasetError("dataset", file, "is a file, not an OME-Zarr folder", "choose the .zarr folder")
    folder = f"{re.sub(r'([.]ome)?([.]zarr)?[.](zip|ozx)$', '', file.name, flags=re.IGNORECASE)}.ome.zarr"
    rule = "is packed in one file, whose images cannot be read in place"
    remedy = f"unpack it with `unzip {quote(file.name)} -d {quote(folder)}`, and open that folder"
    return DatasetError("dataset", file, rule, remedy)


def _refuse_array(folder: Path) -> None:
    rule = "is one resolution level of an image, not an image"
    raise DatasetError("dataset", folder, rule, "open the folder above it")


def _read_json(path: Path) -> Attributes:
    with reading("dataset", path.parent, f"its {path.name} is damaged", "restore the file from a copy"):
        value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        rule = f"its {path.name} is damaged: it holds {type(value).__name__} where a group's or array's keys belong"
        raise DatasetError("dataset", path.parent, rule, "restore the file from a copy")
    return value


def _names_pickle(value: Any) -> bool:
    """Return True if any codec in the metadata of an array is one that unpickles."""
    if isinstance(value, dict):
        named = (value.get("id"), value.get("name"))
        return any(isinstance(name, str) and "pickle" in name.lower() for name in named) or any(
            _names_pickle(part) for key, part in value.items() if key != "attributes"
        )
    return isinstance(value, list) and any(map(_names_pickle, value))


def _write_json(path: Path, value: Attributes) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False))
