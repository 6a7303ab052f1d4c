"""A dataset is a plate, a position or an image on disk; its positions read their metadata and pixels lazily."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.data.attributes import AttributeStore
from napari_vstain.core.data.ngff import ZYX, ImageMetadata, Limits, parse_image
from napari_vstain.core.data.nodes import is_node, ome_attributes, read_attributes
from napari_vstain.core.data.pixels import TCZYX, Image, Pixels
from napari_vstain.core.errors import ChannelError, DatasetError
from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    import dask.array as da

ALONE = "0/0/0"
"""The key of the position of whatever is no plate."""


class DatasetKind(StrEnum):
    """What was opened."""

    PLATE = "plate"
    POSITION = "position"
    """One field of view inside a plate, opened by its own path."""
    IMAGE = "image"


@dataclass(frozen=True)
class Position:
    """One field of view. Nothing is read before it is asked for; what was read is kept."""

    key: str
    """``row/column/field``."""
    folder: Path
    """The group that holds the resolution levels."""
    attributes: AttributeStore = field(repr=False)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names; ``Channel 0``… where the store gives none."""
        return self._channels

    @property
    def shape(self) -> TCZYX:
        """Sizes in pixels, (T, C, Z, Y, X)."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a pixel."""
        return self.pixels.dtype

    @property
    def spacing_um(self) -> ZYX | None:
        """Size of a voxel, (Z, Y, X); None when the store gives no unit for Y and X."""
        return self.metadata.spacing_um

    @property
    def translation_um(self) -> ZYX:
        """Where the first voxel lies, (Z, Y, X)."""
        return self.metadata.translation_um

    def channel_index(self, name: str) -> int:
        """Return the index of a channel.

        Raises
        ------
        ChannelError
            When the position has none of that name.
        """
        try:
            return self.channels.index(name)
        except ValueError:
            rule = f"position {self.key} has {', '.join(self.channels)}"
            raise ChannelError("channel", name, rule, "choose one of these") from None

    def contrast_limits(self, channel: str) -> Limits | None:
        """Return the limits that the store suggests for showing a channel, if any."""
        index = self.channel_index(channel)
        return self.metadata.limits[index] if index < len(self.metadata.limits) else None

    def colour(self, channel: str) -> str | None:
        """Return the colour that the store suggests for a channel, RRGGBB, if any."""
        index = self.channel_index(channel)
        return self.metadata.colours[index] if index < len(self.metadata.colours) else None

    def image(self) -> "da.Array":
        """Return the finest level as a lazy array, (T, C, Z, Y, X)."""
        return _lazy(self.pixels)

    def levels(self) -> "list[da.Array]":
        """Return every resolution level as a lazy array, (T, C, Z, Y, X), finest first."""
        return [_lazy(Pixels(self.folder / path, self.metadata.axes)) for path in self.metadata.levels]

    def read(
        self,
        channels: Sequence[str],
        t: int = 0,
        z: slice = slice(None),
        y: slice = slice(None),
        x: slice = slice(None),
    ) -> Image:
        """Return pixels of the finest level, straight from zarr, (C, Z, Y, X), in the store's own type.

        Raises
        ------
        ChannelError
            When a channel is missing.
        DatasetError
            When a chunk is damaged.
        """
        indices = [self.channel_index(name) for name in channels]
        time = slice(t, t + 1)
        if _consecutive(indices):
            return np.asarray(self.pixels[time, slice(indices[0], indices[-1] + 1), z, y, x][0])
        return np.concatenate([self.pixels[time, slice(index, index + 1), z, y, x][0] for index in indices])

    def attribute(self, key: str) -> Any | None:
        """Return the value of a top-level attribute, or None."""
        return self.attributes.get(self._path, key)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set a whole top-level attribute, in the store or in the workspace's sidecar."""
        self.attributes.set(self._path, key, value)

    @cached_property
    def notes(self) -> dict[Any, Any]:
        """What was computed of the position and is worth keeping for as long as it is open."""
        return {}

    @cached_property
    def metadata(self) -> ImageMetadata:
        """What OME-NGFF says of the image."""
        return parse_image(ome_attributes(read_attributes(self.folder)), self.folder)

    @cached_property
    def pixels(self) -> Pixels:
        """The finest level."""
        return Pixels(self.folder / self.metadata.levels[0], self.metadata.axes)

    @cached_property
    def _channels(self) -> tuple[str, ...]:
        named = dict(enumerate(self.metadata.channels))
        return tuple(named.get(index) or f"Channel {index}" for index in range(self.shape[1]))

    @property
    def _path(self) -> str:
        return self.folder.relative_to(self.attributes.root).as_posix()


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


def _lazy(pixels: Pixels) -> "da.Array":
    import dask.array as da

    return da.from_array(pixels, chunks=pixels.chunks, asarray=False, lock=False, fancy=False)


def _consecutive(indices: Sequence[int]) -> bool:
    return bool(indices) and list(indices) == list(range(indices[0], indices[0] + len(indices)))


def _listed(keys: Mapping[str, Any], most: int = 8) -> str:
    names = list(keys)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
