"""A dataset is a plate, a position or an image on disk: the positions that are found there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_vstain.core.data.attributes import AttributeStore
from napari_vstain.core.data.nodes import is_node, ome_attributes, read_attributes
from napari_vstain.core.data.position import Position
from napari_vstain.core.errors import ChannelError, DatasetError
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
    """By key, in the plate's order."""
    attributes: AttributeStore = field(repr=False)

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
        """
        if key in self.positions:
            return self.positions[key]
        raise ChannelError("position", key, f"{self.name} has {_listed(self.positions)}", "choose one of these")

    def attribute(self, key: str) -> Any | None:
        """Return the value of a top-level attribute of the whole, or None."""
        return self.attributes.get(self._path, key)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set a whole top-level attribute, in the store or in the workspace's sidecar."""
        self.attributes.set(self._path, key, value)

    def change_attribute(self, key: str, change: Callable[[Any | None], Any]) -> None:
        """Replace a whole top-level attribute by what `change` makes of it, alone among processes."""
        self.attributes.change(self._path, key, change)

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
        When it is none of these, is damaged, or holds no position.
    """
    folder = Path(path).expanduser().absolute()
    attributes = read_attributes(folder)
    ome = ome_attributes(attributes)
    if "plate" in ome:
        return _open_plate(folder, ome, workspace)
    if "multiscales" in ome:
        return _open_image(folder, workspace)
    if "bioformats2raw.layout" in attributes or "bioformats2raw.layout" in ome:
        return _open_series(folder, workspace)
    if "well" in ome:
        raise DatasetError("dataset", folder, "is a well", "open the plate two folders above it, or a field inside it")
    rule = "is a zarr, but no OME-Zarr image or plate"
    raise DatasetError("dataset", folder, rule, "choose the folder of an image or a plate")


def _open_plate(folder: Path, ome: Mapping[str, Any], workspace: Workspace | None) -> Dataset:
    store = AttributeStore(folder, workspace)
    keys = [f"{well}/{name}" for well in _wells(ome, folder) for name in _fields(folder / well)]
    return _dataset(folder, DatasetKind.PLATE, {key: folder / key for key in keys}, store)


def _open_image(folder: Path, workspace: Workspace | None) -> Dataset:
    plate = folder.parents[2] if len(folder.parents) > 2 else folder
    if is_node(folder.parent) and is_node(plate) and "plate" in ome_attributes(read_attributes(plate)):
        return _dataset(folder, DatasetKind.POSITION, {ALONE: folder}, AttributeStore(plate, workspace))
    return _dataset(folder, DatasetKind.IMAGE, {ALONE: folder}, AttributeStore(folder, workspace))


def _open_series(folder: Path, workspace: Workspace | None) -> Dataset:
    names = sorted((path.name for path in folder.iterdir() if path.name.isdigit()), key=int)
    folders = {f"0/0/{name}": folder / name for name in names}
    return _dataset(folder, DatasetKind.IMAGE, folders, AttributeStore(folder, workspace))


def _dataset(folder: Path, kind: DatasetKind, folders: Mapping[str, Path], store: AttributeStore) -> Dataset:
    if not folders:
        raise DatasetError(kind.value, folder, "holds no position", "choose another one, or import images first")
    positions = {key: Position(key, where, store) for key, where in folders.items()}
    dataset = Dataset(folder, kind, MappingProxyType(positions), store)
    dataset.channels  # noqa: B018  (the first position is opened: what cannot be read is said at the door)
    return dataset


def _wells(ome: Mapping[str, Any], folder: Path) -> list[str]:
    try:
        return [str(well["path"]).strip("/") for well in ome["plate"].get("wells", ())]
    except (AttributeError, TypeError, KeyError) as error:
        raise DatasetError("plate", folder, "its list of wells cannot be read", "restore its metadata") from error


def _fields(well: Path) -> list[str]:
    try:
        images = ome_attributes(read_attributes(well))["well"]["images"]
        return [str(image["path"]).strip("/") for image in images]
    except (TypeError, KeyError) as error:
        raise DatasetError("well", well, "its list of fields cannot be read", "restore its metadata") from error


def _listed(keys: Mapping[str, Any], most: int = 8) -> str:
    names = list(keys)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
