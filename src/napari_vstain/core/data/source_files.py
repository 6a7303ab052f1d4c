"""Which files make up a position: every channel at every time and slice, once, and all of one shape."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from napari_vstain.core.arrays import TCZYX, Image, Spacing
from napari_vstain.core.data.layouts.layout import PlaneRef
from napari_vstain.core.data.layouts.pattern import as_text, natural
from napari_vstain.core.data.lengths import doubts
from napari_vstain.core.data.readers.image_file import ImageFile
from napari_vstain.core.data.readers.registry import open_image_file
from napari_vstain.core.data.readers.stated import Stated
from napari_vstain.core.errors import DatasetError, SettingsError
from napari_vstain.core.left_out import LeftOut
from napari_vstain.core.progress import Progress

_Place = tuple[str, str, str]
"""Row, column and position as the files write them."""


@dataclass(frozen=True)
class SourceFile:
    """A file, or one channel of it, and the times and slices of the position that it fills."""

    path: Path
    image: ImageFile
    channel: int
    """Index of the channel in the file."""
    t: slice
    z: slice


@dataclass(frozen=True)
class PositionFiles:
    """The files of one position."""

    name: str
    """What the files call the position."""
    files: Mapping[str, tuple[SourceFile, ...]]
    """By channel, in the dataset's order."""
    spacing_um: Spacing | None
    """Size of a voxel as the files give it, (Z, Y, X)."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names in the dataset's order."""
        return tuple(self.files)

    @cached_property
    def shape(self) -> TCZYX:
        """Sizes in pixels, (T, C, Z, Y, X)."""
        files = next(iter(self.files.values()))
        times, slices = max(file.t.stop for file in files), max(file.z.stop for file in files)
        return times, len(self.files), slices, *files[0].image.shape[3:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every channel's pixels."""
        found = {file.image.dtype for files in self.files.values() for file in files}
        return np.dtype(np.result_type(*found).newbyteorder("=").str)

    def planes(self, channel: str) -> Iterator[tuple[int, int, Image]]:
        """Yield (t, z, plane) of a channel, each plane, (Y, X), read when it is its turn."""
        for file in self.files[channel]:
            for t, z, plane in file.image.planes(file.channel):
                yield file.t.start + t, file.z.start + z, plane

    def plane(self, channel: str, t: int, z: int) -> Image:
        """Return one plane of a channel, (Y, X)."""
        here = (file for file in self.files[channel] if t in _range(file.t) and z in _range(file.z))
        file = next(here)
        return file.image.plane(t - file.t.start, file.channel, z - file.z.start)


class _Entry(NamedTuple):
    channel: str
    ref: PlaneRef
    image: ImageFile
    in_file: int
    """Index of the channel in the file."""


class Gathered(NamedTuple):
    """What files make up, and what could not be used of them."""

    sources: dict[str, PositionFiles]
    """By key, ``row/column/field``, in natural order."""
    left_out: tuple[LeftOut, ...]
    parts: tuple[Path, ...]
    """Files that add nothing: their images are begun by another file, of the same set."""


def gather_sources(
    found: Sequence[PlaneRef], channels: Mapping[str, str], progress: Progress, stated: Stated, strict: bool
) -> Gathered:
    """Return the positions that the files make up.

    A file may hold several images: each is a position of its own. A file whose only image was begun by another file,
    of a set, adds nothing to it.

    Parameters
    ----------
    found : sequence of PlaneRef
        The files.
    channels : mapping of str to str
        Channel as the files write it: name in the dataset; all as they are when empty.
    stated : Stated
        What a person states of the files.
    strict : bool
        Refuse when a position cannot be used, instead of leaving it out.

    Raises
    ------
    DatasetError
        When no position can be used: when each has a file that is no image, lacks a channel, a time or a slice, has one
        twice, or its files differ in shape.
    """
    progress.phase("Reading headers", len(found), "files")
    entries: dict[_Place, list[_Entry]] = {}
    failed: dict[_Place, DatasetError] = {}
    begun: dict[tuple[str, int], PlaneRef] = {}
    parts: list[Path] = []
    for ref in found:
        place = (ref.row, ref.column, ref.position)
        try:
            images = open_image_file(ref.path, stated)
            own = [image for image in images if begun.setdefault(image.first_plane, ref) is ref]
            parts += [] if own else [ref.path]
            for image, name in zip(own, _image_names(ref.position, own), strict=True):
                for channel, index in _channels_of(ref, image, channels):
                    entry = _Entry(channel, ref, image, index)
                    entries.setdefault((ref.row, ref.column, name), []).append(entry)
        except DatasetError as error:
            failed.setdefault(place, error)
        progress.advance()
    entries = {place: of for place, of in entries.items() if place not in failed}
    order = _order([entry.channel for of in entries.values() for entry in of], channels)
    sources: dict[str, PositionFiles] = {}
    for place, key in _keys(list(entries)).items():
        try:
            sources[key] = _source(key, place, entries[place], order)
        except DatasetError as error:
            failed[place] = error
    if failed and (strict or not sources):
        raise next(iter(failed.values()))
    left_out = tuple(_left_out(place, error) for place, error in failed.items())
    return Gathered(sources, left_out, tuple(parts))


def _image_names(position: str, images: Sequence[ImageFile]) -> list[str]:
    """Return what the images of a file are called as positions: numbered when there are several."""
    if len(images) == 1:
        return [position]
    return [f"{position} {number}".strip() for number in range(len(images))]


def _left_out(place: _Place, error: DatasetError) -> LeftOut:
    name = "/".join(part for part in place if part) or "0"
    return LeftOut(name, as_text(LeftOut.of(place[2] or name, error).reason))


def notes_on(sources: Mapping[str, PositionFiles], spacing_um: Spacing | None) -> Iterator[str]:
    """Yield what should be said of the files, what holds of many positions once; `spacing_um` is what was stated."""
    said: dict[str, list[str]] = {}
    for source in sources.values():
        told = [doubts(spacing_um or source.spacing_um, source.shape[2])]
        if any(file.image.pages_are_slices for files in source.files.values() for file in files):
            told.append("does not say what its pages are: they are taken for slices (state `axes` if they are not)")
        for sentence in filter(None, told):
            said.setdefault(sentence, []).append(source.name)
    for sentence, names in said.items():
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        yield f"{names[0]}{more} {sentence}."


def _channels_of(ref: PlaneRef, image: ImageFile, channels: Mapping[str, str]) -> list[tuple[str, int]]:
    if ref.channel and image.shape[1] > 1:
        rule = f"holds {image.shape[1]} channels, but the pattern takes the channel from the name"
        raise DatasetError("file", ref.path, rule, "leave {channel} out of the pattern")
    if ref.channel:
        return [(channels.get(ref.channel, ref.channel), 0)]
    written = image.channels or tuple(map(str, range(image.shape[1])))
    wanted = [(name, index) for index, name in enumerate(written) if name in channels or not channels]
    if not wanted:
        rule = f"holds the channels {', '.join(written)}, none of which was asked for"
        raise DatasetError("file", ref.path, rule, "correct the channels")
    return [(channels.get(name, f"Channel {name}" if name.isdigit() else name), index) for name, index in wanted]


def _order(names: Iterable[str], channels: Mapping[str, str]) -> tuple[str, ...]:
    if channels:
        return tuple(dict.fromkeys(channels.values()))
    return tuple(sorted(set(names), key=natural))


def _keys(places: list[_Place]) -> dict[_Place, str]:
    """Return ``row/column/field`` for each place: the position's own name, if letters and digits tell it apart."""
    plain = {place: re.sub(r"[^A-Za-z0-9]", "", place[2]) or "0" for place in places}
    keys = {place: f"{place[0] or '0'}/{place[1] or '0'}/{plain[place]}" for place in places}
    if len(set(keys.values())) == len(places):
        return keys
    return {place: f"{place[0] or '0'}/{place[1] or '0'}/{number}" for number, place in enumerate(places)}


def _source(key: str, place: _Place, entries: Sequence[_Entry], order: tuple[str, ...]) -> PositionFiles:
    name = place[2] or key
    spacings = {entry.image.spacing_um for entry in entries}
    placed = {}
    for channel in order:
        of_channel = [entry for entry in entries if entry.channel == channel]
        if not of_channel:
            rule = f"has no file for channel {channel}"
            raise DatasetError("position", name, rule, "add the file, or narrow the pattern or the channels")
        placed[channel] = _placed(name, of_channel)
    _check_shapes(name, placed)
    known = sorted(spacing for spacing in spacings if spacing is not None and None not in spacing)
    spacing = known[0] if known else next((one for one in spacings if one is not None), None)
    return PositionFiles(name, placed, spacing)


def _placed(name: str, entries: Sequence[_Entry]) -> tuple[SourceFile, ...]:
    """Return a channel's files with their place along T and Z; every time needs every slice, once."""
    times, slices = (sorted({getattr(entry.ref, axis) for entry in entries}) for axis in "tz")
    seen: dict[tuple[int, int], SourceFile] = {}
    for channel, ref, image, index in entries:
        if (ref.t, ref.z) in seen:
            rule = f"has two files for channel {channel}, {seen[ref.t, ref.z].path.name} and {ref.path.name}"
            raise DatasetError("position", name, rule, "name the rest of the path with {position}, {t} or {z}")
        depth_t, depth_z = image.shape[0], image.shape[2]
        if (len(times) > 1 and depth_t > 1) or (len(slices) > 1 and depth_z > 1):
            rule = "holds several times or slices itself, and the pattern names more of them"
            raise DatasetError("file", ref.path, rule, "leave {t} or {z} out of the pattern")
        t, z = times.index(ref.t), slices.index(ref.z)
        seen[ref.t, ref.z] = SourceFile(ref.path, image, index, slice(t, t + depth_t), slice(z, z + depth_z))
    missing = [(t, z) for t in times for z in slices if (t, z) not in seen]
    if missing:
        rule = f"has no file for channel {entries[0].channel} at t {missing[0][0]}, z {missing[0][1]}"
        raise DatasetError("position", name, rule, "add the file, or narrow the pattern")
    return tuple(seen.values())


def _check_shapes(name: str, placed: Mapping[str, tuple[SourceFile, ...]]) -> None:
    first_name, first = next((channel, files[0]) for channel, files in placed.items())
    extent = _extent(placed[first_name])
    for channel, files in placed.items():
        for file in files:
            if file.image.shape[3:] != first.image.shape[3:]:
                rule = (
                    f"{channel} is {_size(file)} px in {file.path.name}, but {first_name} is {_size(first)} px "
                    f"in {first.path.name}"
                )
                raise DatasetError("position", name, rule, "give all channels of a position the same shape")
        if _extent(files) != extent:
            rule = f"{channel} has {_extent(files)} times and slices, but {first_name} has {extent}"
            raise DatasetError("position", name, rule, "give all channels of a position the same shape")


def _extent(files: Sequence[SourceFile]) -> tuple[int, int]:
    return max(file.t.stop for file in files), max(file.z.stop for file in files)


def _size(file: SourceFile) -> str:
    return " × ".join(map(str, file.image.shape[3:]))


def check_channel(name: str, channels: Sequence[str]) -> None:
    """Raise SettingsError unless `name` is one of the channels that are imported."""
    if name not in channels:
        rule = f"is not imported; there are {', '.join(channels)}"
        raise SettingsError("channel to register to", name, rule, "choose one of these")


def _range(part: slice) -> range:
    return range(part.start, part.stop)
