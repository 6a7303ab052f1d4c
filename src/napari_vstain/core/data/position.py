"""A position reads its metadata and pixels when they are asked for, and keeps what it read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.arrays import TCZYX, Image, Limits, Mask, Spacing
from napari_vstain.core.data.attributes import AttributeStore, recorded
from napari_vstain.core.data.channel_names import told_apart
from napari_vstain.core.data.chunks import WHOLE, count_missing
from napari_vstain.core.data.containment import inside
from napari_vstain.core.data.labels import LabelImage, label_names
from napari_vstain.core.data.ngff import ImageMetadata, ScaleZYX, parse_image
from napari_vstain.core.data.pixels import Pixels
from napari_vstain.core.data.zarr_groups import ome_attributes, read_attributes
from napari_vstain.core.errors import ChannelError, DatasetError
from napari_vstain.core.files import reading

if TYPE_CHECKING:
    import dask.array as da

MOST_CHANNELS = 10_000
"""Each is given a name: a size that lies would take for ever."""


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
        """Channel names, each another: see `told_apart` for those that the store does not give, or gives twice."""
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
    def spacing_um(self) -> Spacing | None:
        """Size of a voxel, (Z, Y, X); None when the store gives none for Y and X, and Z None when it gives none."""
        return self.metadata.spacing_um

    @property
    def translation_um(self) -> ScaleZYX:
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
            named = ", ".join(filter(None, self.channels))
            rule = f"position {self.key} has {named or 'no channel with a name'}"
            remedy = "choose one of these" if named else "name its channels, or import it again"
            raise ChannelError("channel", name, rule, remedy) from None

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
        """Return every resolution level that can be read as a lazy array, (T, C, Z, Y, X), finest first."""
        return [_lazy(self.pixels), *map(_lazy, self._coarser())]

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
            When a chunk is damaged, or is missing from a store that says that it has all.
        """
        indices = [self.channel_index(name) for name in channels]
        for name, index in zip(channels, indices, strict=True):
            if self._is_whole and (name, t) not in self._there:
                self._check_chunks(name, index, t)
        time = slice(t, t + 1)
        if _consecutive(indices):
            return np.asarray(self.pixels[time, slice(indices[0], indices[-1] + 1), z, y, x][0])
        return np.concatenate([self.pixels[time, slice(index, index + 1), z, y, x][0] for index in indices])

    def label_names(self) -> tuple[str, ...]:
        """Return the names of the label images that lie beside the pixels; see `labels`."""
        return label_names(self.folder)

    def labels(self, name: str) -> LabelImage:
        """Return a label image that lies beside the pixels: each object its number, 0 for what is none.

        Raises
        ------
        DatasetError
            When there is none of that name, it cannot be read, or its values are no numbers of objects.
        """
        return LabelImage(self.folder, name)

    def mask(
        self, name: str, t: int = 0, z: slice = slice(None), y: slice = slice(None), x: slice = slice(None)
    ) -> Mask:
        """Return where a label image has any object, bool, (Z, Y, X); raises as `labels` does."""
        return np.asarray(self.labels(name).read(t, z, y, x) != 0, bool)

    def missing_chunks(self, channel: str) -> tuple[int, int]:
        """Return how many chunks of a channel are not on disk, which read as zero, and how many there should be."""
        return count_missing(self.pixels, self.channel_index(channel))

    def attribute(self, key: str) -> Any | None:
        """Return the value of a top-level attribute, or None."""
        return self.attributes.get(self._path, key)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set a whole top-level attribute, in the store or in the workspace's sidecar."""
        self.attributes.set(self._path, key, value)

    def change_attribute(self, key: str, change: Callable[[Any | None], Any]) -> None:
        """Replace a whole top-level attribute by what `change` makes of it, alone among processes."""
        self.attributes.change(self._path, key, change)

    @cached_property
    def notes(self) -> dict[Any, Any]:
        """What was computed of the position and is worth keeping for as long as it is open."""
        return {}

    @cached_property
    def metadata(self) -> ImageMetadata:
        """What OME-NGFF says of the image."""
        with reading("image", self.folder, "has metadata that cannot be read"):
            return parse_image(ome_attributes(read_attributes(self.folder)), self.folder)

    @cached_property
    def pixels(self) -> Pixels:
        """The finest level."""
        return Pixels(inside(self.folder, self.metadata.levels[0]), self.metadata.axes)

    @cached_property
    def _channels(self) -> tuple[str, ...]:
        if self.shape[1] > MOST_CHANNELS:
            rule = f"says that it has {self.shape[1]:,} channels, and no image has more than {MOST_CHANNELS:,}"
            raise DatasetError("image", self.folder, rule, "restore its metadata, or correct the order of its axes")
        named = dict(enumerate(self.metadata.channels))
        return told_apart([named.get(index) for index in range(self.shape[1])])

    @cached_property
    def _is_whole(self) -> bool:
        """True when the store says that the position was written with every chunk."""
        said = recorded(self, "import")
        return isinstance(said, Mapping) and said.get("chunks") == WHOLE

    @cached_property
    def _there(self) -> set[tuple[str, int]]:
        """Frames of which every chunk was seen on disk: channel and time."""
        return set()

    def _check_chunks(self, name: str, index: int, t: int) -> None:
        missing, total = count_missing(self.pixels, index, t)
        if missing:
            rule = f"lacks {missing} of {total} chunks of {name} at t {t}, so that it was not copied as a whole"
            raise DatasetError("position", self.key, rule, "copy the dataset again")
        self._there.add((name, t))

    def _coarser(self) -> Iterator[Pixels]:
        """Yield the other resolution levels; they only speed up showing, so one that is missing is done without."""
        for path in self.metadata.levels[1:]:
            with suppress(DatasetError):
                level = Pixels(inside(self.folder, path), self.metadata.axes)
                if level.shape[:2] == self.shape[:2]:
                    yield level

    @property
    def _path(self) -> str:
        return self.folder.relative_to(self.attributes.root).as_posix()


def _lazy(pixels: Pixels) -> "da.Array":
    import dask.array as da

    return da.from_array(pixels, chunks=pixels.chunks, asarray=False, lock=False, fancy=False)


def _consecutive(indices: Sequence[int]) -> bool:
    return bool(indices) and list(indices) == list(range(indices[0], indices[0] + len(indices)))
