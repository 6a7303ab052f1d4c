"""A position is known by its pixels, wherever it lies and however its path is spelled.

What tells two inputs apart is the bytes of the stored chunks. They are not read as long as a cheaper sign is enough:
where sizes, times and the mark of the import are as they were, nothing changed. A copy, a moved workspace, another
mount or a `touch` change the times only, and then the bytes decide. Channels are known each by its own chunks, so that
a stain that was corrected leaves predictions from the phase image as they are.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from uuid import uuid4

import numpy as np

from napari_vstain.core.data.attributes import OURS
from napari_vstain.core.data.position import Position
from napari_vstain.core.data.zarr_groups import read_attributes
from napari_vstain.core.files import reading

TOKEN = "token"
"""The key, in our attributes of a dataset and of each position, of what was written when it was made."""
MOST_FILES = 4096
"""Chunk files of a position that are looked at, spread evenly over it where there are more."""
SETTLED_S = 3.0
"""Files changed so shortly before they were looked at may change again without their time telling it."""


@dataclass(frozen=True)
class Identity:
    """What the pixels of some channels of a position were at one moment; each part is a digest, empty if not known."""

    token: str = ""
    """Of the store, since it was made: a store that was made anew has another one."""
    layout: str = ""
    """Shape, type, voxel size, and how the pixels are cut into files of which sizes."""
    times: str = ""
    """When these files were changed."""
    content: str = ""
    """The bytes in them."""

    @property
    def digest(self) -> str:
        """16 hex digits that only equal layouts and bytes share; empty where the bytes are not known."""
        return _digest(self.layout + self.content) if self.content else ""

    @classmethod
    def parse(cls, said: object) -> "Identity | None":
        """Return what `asdict` gave of an identity; None for anything else."""
        if not isinstance(said, Mapping) or not said.get("layout"):
            return None
        return cls(*(str(said.get(name, "")) for name in ("token", "layout", "times", "content")))

    def is_still(self, now: "Identity", content: Callable[[], str]) -> bool:
        """Return True if nothing changed since; `content` reads the bytes of now, and is asked only when it must."""
        if self.layout != now.layout:
            return False
        if self.times and (self.token, self.times) == (now.token, now.times):
            return True
        return bool(self.content) and self.content == content()


def new_token() -> str:
    """Return a mark for a store that is being made."""
    return uuid4().hex


def token_in(folder: Path) -> str:
    """Return the mark that a dataset or a position got when it was made, or nothing."""
    ours = read_attributes(folder).get(OURS)
    return str(ours.get(TOKEN, "")) if isinstance(ours, Mapping) else ""


def identify(position: Position, channels: Sequence[str], *, content: bool = False) -> Identity:
    """Return the identity of some channels of a position.

    Parameters
    ----------
    content : bool
        Read the bytes too; otherwise the files, at most `MOST_FILES` of them, are looked at and not read.
    """
    files = list(_files(position, channels))
    sizes, times, newest = [], [], 0.0
    for file in files:
        try:
            found = file.stat()
        except FileNotFoundError:  # a chunk of nothing but the fill value
            sizes.append(-1)
            times.append((0, 0))
            continue
        sizes.append(found.st_size)
        times.append((found.st_mtime_ns, found.st_ctime_ns))
        newest = max(newest, found.st_mtime, found.st_ctime)
    array = position.pixels.array
    facts = (
        position.shape, str(position.dtype), array.chunks, str(array.fill_value), position.spacing_um,
        position.translation_um, sizes,
    )  # fmt: skip
    settled = time.time() - newest > SETTLED_S
    return Identity(
        token_in(position.folder),
        _digest(repr(facts)),
        _digest(repr(times)) if settled else "",
        _content(files) if content else "",
    )


def content_of(position: Position, channels: Sequence[str], check: Callable[[], None] = lambda: None) -> str:
    """Return the digest of the bytes that some channels of a position are stored in; `check` is called at each file."""
    return _content(_files(position, channels), check)


def is_still(position: Position, channels: Sequence[str], known: Identity) -> bool:
    """Return True if some channels of a position are what they were, wherever they lie now."""
    return known.is_still(identify(position, channels), lambda: content_of(position, channels))


def as_record(identity: Identity) -> dict[str, str]:
    """Return an identity as it is stored."""
    return asdict(identity)


def _files(position: Position, channels: Sequence[str]) -> Iterator[Path]:
    """Yield where the chunks of some channels are, or would be; evenly spread ones where there are too many."""
    pixels = position.pixels
    array = pixels.array
    sizes = array.shards or array.chunks
    grid: list[Sequence[int]] = [range(-(-n // size)) for n, size in zip(array.shape, sizes, strict=True)]
    if "c" in pixels.axes:
        axis = pixels.axes.index("c")
        grid[axis] = sorted({position.channel_index(name) // sizes[axis] for name in channels})
    counts = [len(places) for places in grid]
    total = prod(counts)
    for number in np.unique(np.linspace(0, total - 1, min(total, MOST_FILES)).astype(np.intp)):
        place = tuple(int(places[i]) for places, i in zip(grid, np.unravel_index(number, counts), strict=True))
        yield pixels.path / array.metadata.encode_chunk_key(place)


def _content(files: Iterable[Path], check: Callable[[], None] = lambda: None) -> str:
    whole = hashlib.sha256()
    for file in files:
        check()
        if not file.exists():
            whole.update(b"nothing")
            continue
        with reading("pixels", file, "cannot be read", "restore the file from a copy"), file.open("rb") as handle:
            whole.update(hashlib.file_digest(handle, "sha256").digest())
    return whole.hexdigest()[:32]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
