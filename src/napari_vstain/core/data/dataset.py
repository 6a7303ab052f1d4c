"""A dataset is a plate, a position or an image on disk: the positions that are found there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_vstain.core.data.attributes import AttributeStore
from napari_vstain.core.data.containment import inside
from napari_vstain.core.data.position import Position
from napari_vstain.core.data.zarr_groups import is_node, ome_attributes, read_attributes
from napari_vstain.core.errors import ChannelError, DatasetError
from napari_vstain.core.files import reading
from napari_vstain.core.left_out import LeftOut
from napari_vstain.core.workspace import Workspace

ALONE = "0/0/0"
"""The key of the position of whatever is no plate."""


class DatasetKind(StrEnum):
    """What was opened."""

    PLATE = "plate"
    POSITION = "position"
    """One field of view inside a plate, opened by its own path."""
    IMAGE = "image"


@dataclass(frozen=True)
class Dataset:
    """What `open_dataset` found at a path."""

    path: Path
    kind: DatasetKind
    positions: Mapping[str, Position]
    """By key, in the plate's order: those that can be used, as far as their metadata tells."""
    attributes: AttributeStore = field(repr=False)
    unusable: Mapping[str, LeftOut] = field(default_factory=dict)
    """What the store lists beside the positions and cannot be used, with the reason: by key, or by well."""

    @property
    def name(self) -> str:
        """The folder's name without its ending."""
        return self.path.name.removesuffix(".zarr")

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names of the first position."""
        return next(iter(self.positions.values())).channels

    def position(self, key: str) -> Position:
        """Return one position.

        Raises
        ------
        ChannelError
            When there is none of that key.
        DatasetError
            When it is listed and cannot be used.
        """
        if key in self.positions:
            return self.positions[key]
        missing = self.unusable.get(key) or self.unusable.get(key.rpartition("/")[0])
        if missing:
            raise DatasetError("position", key, missing.reason, "leave it out, or restore it from a copy")
        raise ChannelError("position", key, f"{self.name} has {_listed(self.positions)}", "choose one of these")

    def select(self, keys: Sequence[str] = ()) -> tuple[list[Position], list[LeftOut]]:
        """Return the positions asked for, or all, and those of them that cannot be used, each with its reason.

        Raises
        ------
        ChannelError
            When a position is asked for that the store does not list.
        """
        if not keys:
            return list(self.positions.values()), list(self.unusable.values())
        found, left_out = [], []
        for key in dict.fromkeys(keys):
            try:
                found.append(self.position(key))
            except DatasetError as error:
                left_out.append(LeftOut.of(key, error))
        return found, left_out

    def attribute(self, key: str) -> Any | None:
        """Return the value of a top-level attribute of the whole, or None."""
        return self.attributes.get(self._path, key)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set a whole top-level attribute, in the store or in the workspace's sidecar."""
        self.attributes.set(self._path, key, value)

    def change_attribute(self, key: str, change: Callable[[Any | None], Any]) -> None:
        """Replace a whole top-level attribute by what `change` makes of it, alone among processes."""
        self.attributes.change(self._path, key, change)

    def keep_untouched(self) -> None:
        """Never write the store from now on: what is said of it goes to the workspace's sidecar."""
        self.attributes.keep_untouched()

    @property
    def _path(self) -> str:
        return self.path.relative_to(self.attributes.root).as_posix()


def open_dataset(path: Path | str, workspace: Workspace | None = None) -> Dataset:
    """Return the OME-Zarr at `path`: a plate, one position of a plate, or a multiscale image; 0.4 or 0.5.

    Parameters
    ----------
    path : Path or str
        The folder.
    workspace : Workspace, optional
        Keeps what is said of a store that lies outside it; without one, the store itself is written.

    Raises
    ------
    DatasetError
        When it is none of these, is damaged, or holds no position that can be used.
    """
    folder = Path(path).expanduser().absolute()
    with reading("dataset", folder, "cannot be opened"):
        return _open(folder, workspace)


def _open(folder: Path, workspace: Workspace | None) -> Dataset:
    attributes = read_attributes(folder)
    ome = ome_attributes(attributes)
    if "plate" in ome:
        return _open_plate(folder, ome, workspace)
    if "multiscales" in ome:
        return _open_image(folder, workspace)
    if "bioformats2raw.layout" in attributes or "bioformats2raw.layout" in ome:
        return _open_series(folder, ome, workspace)
    if "well" in ome:
        raise DatasetError("dataset", folder, "is a well", "open the plate two folders above it, or a field inside it")
    rule = "is a zarr, but no OME-Zarr image or plate"
    raise DatasetError("dataset", folder, rule, "choose the folder of an image or a plate")


def _open_plate(folder: Path, ome: Mapping[str, Any], workspace: Workspace | None) -> Dataset:
    folders: dict[str, Path] = {}
    unusable: dict[str, LeftOut] = {}
    for path in _paths(ome["plate"], "wells", "plate", folder):
        try:
            well, name = _part(folder, path, 2, "row/column")
            for field_path in _fields(well):
                key, place = f"{name}/{field_path}", well / str(field_path)
                try:
                    place, field_name = _part(well, field_path, 1, "one folder")
                    key = f"{name}/{field_name}"
                    folders[key] = place
                except DatasetError as error:
                    unusable[key] = LeftOut(key, error.rule)
        except DatasetError as error:
            unusable[str(path)] = LeftOut(str(path), error.rule)
    return _dataset(folder, DatasetKind.PLATE, folders, AttributeStore(folder, workspace), unusable)


def _open_image(folder: Path, workspace: Workspace | None) -> Dataset:
    plate = folder.parents[2] if len(folder.parents) > 2 else folder
    if is_node(folder.parent) and is_node(plate) and "plate" in ome_attributes(read_attributes(plate)):
        return _dataset(folder, DatasetKind.POSITION, {ALONE: folder}, AttributeStore(plate, workspace))
    return _dataset(folder, DatasetKind.IMAGE, {ALONE: folder}, AttributeStore(folder, workspace))


def _open_series(folder: Path, ome: Mapping[str, Any], workspace: Workspace | None) -> Dataset:
    """Return the images that Bio-Formats put side by side: those that it lists, else all folders that are numbers."""
    listed = ome.get("series")
    if not isinstance(listed, list) and is_node(folder / "OME"):
        listed = ome_attributes(read_attributes(folder / "OME")).get("series")
    if not isinstance(listed, list):
        listed = sorted((path.name for path in folder.iterdir() if path.name.isdecimal()), key=int)
    folders: dict[str, Path] = {}
    unusable: dict[str, LeftOut] = {}
    for name in listed:
        try:
            place, _ = _part(folder, name, 1, "one folder")
            folders[f"0/0/{name}"] = place
        except DatasetError as error:
            unusable[f"0/0/{name}"] = LeftOut(f"0/0/{name}", error.rule)
    return _dataset(folder, DatasetKind.IMAGE, folders, AttributeStore(folder, workspace), unusable)


def _dataset(
    folder: Path,
    kind: DatasetKind,
    folders: Mapping[str, Path],
    store: AttributeStore,
    unusable: Mapping[str, LeftOut] = MappingProxyType({}),
) -> Dataset:
    """Return what was found, once a first position was opened: what cannot be read is said at the door.

    The others are opened when they are asked for, so that a plate of thousands opens at once.
    """
    positions = {key: Position(key, where, store) for key, where in folders.items()}
    bad, first = dict(unusable), None
    while positions:
        key = next(iter(positions))
        try:
            positions[key].channels  # noqa: B018
        except DatasetError as error:
            first = first or error
            bad[key] = LeftOut(key, error.rule)
            del positions[key]
        else:
            return Dataset(folder, kind, MappingProxyType(positions), store, MappingProxyType(bad))
    if first and kind is not DatasetKind.PLATE:
        raise first
    rule = f"holds no position that can be used: {next(iter(bad.values()))}" if bad else "holds no position"
    raise DatasetError(kind.value, folder, rule, "choose another one, or import images first")


def _part(root: Path, path: object, depth: int, form: str) -> tuple[Path, str]:
    """Return folder and name of what a plate or a well lists, once it was looked whether that is there."""
    place = inside(root, path)
    name = place.relative_to(root).as_posix()
    if name.count("/") != depth - 1:
        raise DatasetError("store", root, f"is listed by a path that is not {form}", "correct the metadata")
    if not is_node(place):
        raise DatasetError("store", root, "is listed, but is not there", "restore it from a copy")
    return place, name


def _fields(well: Path) -> list[Any]:
    return _paths(ome_attributes(read_attributes(well)).get("well"), "images", "well", well)


def _paths(part: object, key: str, kind: str, where: Path) -> list[Any]:
    """Return the paths that the metadata of a plate or a well lists."""
    listed = part.get(key, []) if isinstance(part, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise DatasetError(kind, where, f"has a list of {key} that cannot be read", "restore its metadata")
    return [one.get("path") for one in listed]


def _listed(keys: Mapping[str, Any], most: int = 8) -> str:
    names = list(keys)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
