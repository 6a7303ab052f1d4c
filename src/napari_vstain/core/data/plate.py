"""A plate is written position by position, and is valid OME-NGFF at any moment."""

# Plates are not written through iohub, which the tests use to judge them. Twenty positions of (1, 2, 5, 512, 512)
# uint16 in chunks of one plane, five pairs of runs on two busy cores: iohub 0.3.0a7 took 1.30 times as long to write
# (median of the pairs; 2.14 s and 1.65 s), and 6.4 s to import where this and zarr took 1.3 s. Reading differed by less
# than the runs did among themselves.

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import TCZYX, Limits, Spacing
from napari_vstain.core.data import zarr_groups as nodes
from napari_vstain.core.data.dataset import open_dataset
from napari_vstain.core.data.identity import new_token
from napari_vstain.core.data.ngff import ScaleZYX, image_attributes, plate_attributes, well_attributes
from napari_vstain.core.data.ngff_axes import AXES
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import writing

if TYPE_CHECKING:
    import zarr

Version = Literal["0.4", "0.5"]
_Existing = Literal["refuse", "extend", "replace"]
CHUNK_PX = 512
_KEY = re.compile(r"(?!\.)[^/\\]+/(?!\.)[^/\\]+/(?!\.)[^/\\]+")


def create_plate(
    path: Path | str,
    channels: Sequence[str],
    *,
    version: Version = "0.5",
    existing: _Existing = "refuse",
    name: str = "",
) -> "PlateWriter":
    """Return a writer for the plate at `path`; use it in a ``with`` statement.

    Parameters
    ----------
    path : Path or str
        The ``.zarr`` folder.
    channels : sequence of str
        Channel names that all positions share, in their order.
    version : {"0.4", "0.5"}
        OME-NGFF version; an extended plate keeps its own.
    existing : {"refuse", "extend", "replace"}
        What to do with a plate that is there already: an error, keep its positions, or delete it first.
    name : str
        What the plate calls itself; the folder's name by default.

    Raises
    ------
    DatasetError
        When something is at `path` that may not be replaced or extended.
    StorageError
        When the folder or the disk takes no data.
    """
    folder = Path(path).expanduser().absolute()
    if len(set(channels)) != len(channels) or not channels:
        raise DatasetError(
            "channels", ", ".join(channels) or None, "must be one or more different names", "rename them"
        )
    if folder.exists() and existing == "refuse":
        raise DatasetError("plate", folder, "is there already", "choose another name")
    if folder.exists() and existing == "replace":
        _remove_plate(folder)
    if folder.exists():
        return _extend(folder, tuple(channels))
    writer = PlateWriter(folder, tuple(channels), version, (), name or folder.name.removesuffix(".zarr"), new_token())
    writer.write_plate()
    return writer


@dataclass(frozen=True)
class NewPosition:
    """What a position is to be."""

    key: str
    """``row/column/field``."""
    shape: TCZYX
    """Sizes in pixels; C is the number of the plate's channels."""
    dtype: npt.DTypeLike
    spacing_um: Spacing | None = None
    """Size of a voxel, or None when not known; of Z alone too."""
    translation_um: ScaleZYX = (0.0, 0.0, 0.0)
    """Where the first voxel lies."""
    chunks: TCZYX | None = None
    """Sizes of a chunk; one slice of at most 512 px by default."""
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """Between which intensities a channel is best shown."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What else is said of it, by top-level key."""


class PlateWriter:
    """Adds positions to a plate. Not for several threads or processes at once; the arrays it returns are.

    What is listed is always complete: a position's array and metadata come first, then its well, then the plate.
    """

    def __init__(
        self, path: Path, channels: tuple[str, ...], version: Version, keys: Sequence[str], name: str, token: str = ""
    ) -> None:
        self.path = path
        self.name = name
        self.token = token
        """What whoever makes the plate may write into it, to tell it from any other; see `identity`."""
        self.channels = channels
        self.version: Version = version
        self._keys = list(keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def keys(self) -> tuple[str, ...]:
        """The positions so far."""
        return tuple(self._keys)

    def add_position(
        self,
        key: str,
        shape: TCZYX,
        dtype: npt.DTypeLike,
        spacing_um: Spacing | None = None,
        translation_um: ScaleZYX = (0.0, 0.0, 0.0),
        chunks: TCZYX | None = None,
    ) -> "zarr.Array[Any]":
        """Return the array of a position to write into, all zero; the same array again if it is there already.

        Parameters
        ----------
        key : str
            ``row/column/field``.
        shape : tuple of int
            Sizes in pixels, (T, C, Z, Y, X); C is the number of the plate's channels.
        dtype : dtype
            Type of a pixel.
        spacing_um, translation_um : tuple of float
            Size of a voxel, or None when not known (of Z alone too), and place of the first one, (Z, Y, X).
        chunks : tuple of int, optional
            Sizes of a chunk, (T, C, Z, Y, X); one slice of at most 512 px by default.

        Raises
        ------
        DatasetError
            When the key or the shape cannot be, or the position is there with another shape or type.
        StorageError
            When the disk takes no data.
        """
        _check(key, shape, self.channels)
        if key in self._keys:
            return self._existing(key, shape, dtype)
        with writing(self.path):
            array = self.create_position(NewPosition(key, shape, dtype, spacing_um, translation_um, chunks))
            self._list([key], [*self._keys, key])
        return array

    def add_positions(self, positions: Sequence[NewPosition], order: Sequence[str] = ()) -> None:
        """Add those that are not there yet, all zero, and list them at once: the cost of each does not grow.

        Parameters
        ----------
        order : sequence of str
            Keys in the order of the list, as far as they are in it; the others come behind, as they come.
        """
        new = [one for one in positions if one.key not in set(self._keys)]
        if not new:
            return
        rank = {key: place for place, key in enumerate(order)}
        like: dict[object, str] = {}
        with writing(self.path):
            for one in new:
                kind = one.shape, np.dtype(one.dtype), one.chunks
                self._create_empty(one, like.get(kind))
                like.setdefault(kind, one.key)
            keys = [one.key for one in new]
            self._list(keys, sorted([*self._keys, *keys], key=lambda key: rank.get(key, len(rank))))

    def create_position(self, position: NewPosition) -> "zarr.Array[Any]":
        """Write array and metadata of a position, all zero; it is not listed, and whatever was there is gone."""
        _check(position.key, position.shape, self.channels)
        folder = self.path / position.key
        with writing(self.path):
            array = self._create_array(folder, position.shape, position.dtype, position.chunks)
            self._describe(position)
        return array

    def _create_empty(self, position: NewPosition, like: str | None) -> None:
        """Write array and metadata of a position; of one `like` it, the array's are copied: zarr takes its time."""
        if like is None:
            self.create_position(position)
            return
        _check(position.key, position.shape, self.channels)
        folder = self.path / position.key / "0"
        if folder.exists():  # left by a process that was killed before it was listed
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        for name in (".zarray", ".zattrs") if self._format == 2 else ("zarr.json",):
            if (known := self.path / like / "0" / name).is_file():
                shutil.copyfile(known, folder / name)
        self._describe(position)

    def _describe(self, position: NewPosition) -> None:
        """Write the metadata of a position."""
        ome = image_attributes(
            self.channels, position.spacing_um, position.translation_um, position.dtype, self.version, position.key,
            position.limits,
        )  # fmt: skip
        nodes.create_group(self.path / position.key, {**ome, **position.attributes}, self._format)

    def set_contrast_limits(self, key: str, limits: Mapping[str, Limits]) -> None:
        """Say between which intensities the channels of a position are best shown."""
        ome = nodes.ome_attributes(nodes.read_attributes(self.path / key))
        omero = ome["omero"]
        for channel in omero["channels"]:
            if channel["label"] in limits:
                start, end = map(float, limits[channel["label"]])
                window = channel["window"]
                channel["window"] = {
                    "start": start, "end": end, "min": min(window["min"], start), "max": max(window["max"], end)
                }  # fmt: skip
        if self.version == "0.4":
            nodes.write_attribute(self.path / key, "omero", omero)
        else:
            nodes.write_attribute(self.path / key, "ome", {**ome, "omero": omero})

    def set_attribute(self, key: str, value: Any, position: str = "") -> None:
        """Set a whole top-level attribute of a position, or of the plate."""
        nodes.write_attribute(self.path / position, key, value)

    def write_plate(self) -> None:
        """Write the plate's own metadata; other attributes stay."""
        self._write_group(self.path, plate_attributes(self._keys, self.name, self.version))

    @property
    def _format(self) -> int:
        return 2 if self.version == "0.4" else 3

    def _list(self, new: Sequence[str], keys: list[str]) -> None:
        """List the positions `new` in their wells, then all `keys` in the plate."""
        fields: dict[str, list[str]] = {}
        for key in keys:
            well, _, name = key.rpartition("/")
            fields.setdefault(well, []).append(name)
        for well in dict.fromkeys(key.rpartition("/")[0] for key in new):
            row = self.path / well.partition("/")[0]
            if not nodes.is_node(row):
                nodes.create_group(row, {}, self._format)
            self._write_group(self.path / well, well_attributes(fields[well], self.version))
        self._keys = keys
        self.write_plate()

    def _write_group(self, folder: Path, attributes: dict[str, Any]) -> None:
        kept = nodes.read_attributes(folder) if nodes.is_node(folder) else {}
        nodes.create_group(folder, {**kept, **attributes}, self._format)

    def _create_array(
        self, folder: Path, shape: TCZYX, dtype: npt.DTypeLike, chunks: TCZYX | None
    ) -> "zarr.Array[Any]":
        import zarr
        from zarr.codecs import BloscCodec

        sizes = chunks or (1, 1, 1, min(shape[3], CHUNK_PX), min(shape[4], CHUNK_PX))
        options: dict[str, Any] = {
            "shape": shape, "dtype": np.dtype(dtype), "chunks": sizes, "fill_value": 0, "overwrite": True,
            "config": {"write_empty_chunks": True},  # so that a chunk that is not there was lost, or never written
        }  # fmt: skip
        if self._format == 3:
            codec = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
            return zarr.create_array(folder / "0", compressors=codec, dimension_names=list(AXES), **options)
        from numcodecs import Blosc  # type: ignore[import-untyped,unused-ignore]

        separator = {"name": "v2", "separator": "/"}
        codec = Blosc(cname="zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
        return zarr.create_array(
            folder / "0", zarr_format=2, compressors=codec, chunk_key_encoding=separator, **options
        )

    def _existing(self, key: str, shape: TCZYX, dtype: npt.DTypeLike) -> "zarr.Array[Any]":
        import zarr

        with zarr.config.set({"array.write_empty_chunks": True}):  # as when it was made; opened, it forgets
            array = zarr.open_array(self.path / key / "0", mode="r+")
        if array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
            rule = f"is there with shape {array.shape} and type {array.dtype}"
            raise DatasetError("position", key, rule, "choose another name, or replace the whole plate")
        return array


def _extend(folder: Path, channels: tuple[str, ...]) -> PlateWriter:
    ome = nodes.ome_attributes(nodes.read_attributes(folder))
    if "plate" not in ome:
        raise DatasetError("plate", folder, "is something else", "choose another name")
    version: Version = "0.5" if (folder / "zarr.json").is_file() else "0.4"
    name = str(ome["plate"].get("name", folder.name.removesuffix(".zarr")))
    if not ome["plate"].get("wells"):
        return PlateWriter(folder, channels, version, (), name)
    dataset = open_dataset(folder)
    if dataset.channels != channels:
        rule = f"has the channels {', '.join(dataset.channels)}, not {', '.join(channels)}"
        raise DatasetError("plate", folder, rule, "choose another name")
    return PlateWriter(folder, channels, version, tuple(dataset.positions), name)


def _remove_plate(folder: Path) -> None:
    if not (nodes.is_node(folder) and "plate" in nodes.ome_attributes(nodes.read_attributes(folder))):
        raise DatasetError("plate", folder, "is something else", "choose another name")
    with writing(folder):
        shutil.rmtree(folder)


def _check(key: str, shape: Sequence[int], channels: Sequence[str]) -> None:
    if not _KEY.fullmatch(key):
        raise DatasetError("position", key, "must be row/column/field", "name it like B/03/0")
    if len(shape) != len(AXES) or min(shape) < 1 or shape[1] != len(channels):
        rule = f"must have five sizes TCZYX of 1 or more, with {len(channels)} channels"
        raise DatasetError("shape", tuple(shape), rule, "correct it")
