"""A path that metadata gives stays inside its store, however it is spelled."""

from pathlib import Path, PureWindowsPath

from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import reading

_REMEDY = "correct the metadata, or get the store from where it was made"


def inside(root: Path, path: object) -> Path:
    """Return ``root / path`` for a path that metadata gives, with ``/`` between its parts.

    Nobody knows who wrote a store: its metadata must neither read nor write anything beside it. A link counts by where
    it leads; a backslash or a drive letter is refused everywhere, since it means a path on Windows.

    Raises
    ------
    DatasetError
        When it is no path, or leads out of `root`.
    """
    text = str(path) if isinstance(path, (str, int)) and not isinstance(path, bool) else ""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts:
        raise DatasetError("store", root, f"lists a part without a path ({path!r:.40})", _REMEDY)
    if "\\" in text or "\0" in text or text.startswith("/") or ".." in parts or PureWindowsPath(text).drive:
        raise _leads_out(root, text)
    place = root
    with reading("store", root, f"lists a path that cannot be followed ({text!r:.80})", _REMEDY):
        for part in parts:
            place /= part
            if place.is_symlink() and not place.resolve().is_relative_to(root.resolve()):
                raise _leads_out(root, text)
    return place


def _leads_out(root: Path, text: str) -> DatasetError:
    return DatasetError("store", root, f"lists the path {text!r:.80}, which leads out of it", _REMEDY)
