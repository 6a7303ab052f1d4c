"""The predictions of one position: written by whoever holds its lock, and done only as far as its record says.

What a tile covers counts as done only once its blocks are on disk, so that a run that was stopped, or killed, goes on
where it was. What was made from other pixels or numbers is not gone on with: it goes, so that nothing is mixed.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.arrays import Array, Mask, Region, round_up
from napari_vstain.core.data import NewPosition, Position, record, write_pixels
from napari_vstain.core.data.attributes import OURS, SCHEMA_VERSION
from napari_vstain.core.data.identity import Identity
from napari_vstain.core.data.predicted import is_begun, record_of
from napari_vstain.core.data.zarr_groups import read_attributes, write_attribute
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import writing
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.recipe import Existing, Input, Recipe, Step, next_step
from napari_vstain.core.inference.tile_budget import BLOCK_PX
from napari_vstain.core.locks import Lock
from napari_vstain.core.models.spec import Dimensions, OutputSpec
from napari_vstain.core.tiling.plan import Tile, TilePlan

if TYPE_CHECKING:
    from napari_vstain.core.data.plate import PlateWriter


def block_size(predictor: Predictor) -> tuple[int, int]:
    """Return the part of the input, (Y, X) in pixels, that one stored block shows."""
    y, x = (round_up(BLOCK_PX, stride) for stride in predictor.spec.stride[1:])
    return y, x


REMEDY = "choose another output, or overwrite them with `--existing overwrite`"


class PositionStore:
    """The predictions of one position, for as long as its lock is held. Written from one thread at a time.

    Parameters
    ----------
    held : ExitStack
        Closed with the store: it gives the lock back.
    consolidated : bool
        Somebody put a copy of all metadata at the root of the store.
    """

    def __init__(
        self,
        writer: "PlateWriter",
        position: Position,
        planned: NewPosition,
        predictor: Predictor,
        recipe: Recipe,
        lock: Lock,
        held: ExitStack,
        *,
        consolidated: bool = False,
    ) -> None:
        self._writer, self._position, self._planned = writer, position, planned
        self._outputs = predictor.spec.outputs
        self._block = (1, *block_size(predictor))
        self._recipe, self._lock, self._held = recipe, lock, held
        self._consolidated = consolidated
        self._input: Input | None = None
        self._content: Future[str] | None = None
        self.array: Any = None
        self.done: Mask = np.zeros(0, bool)
        """(T, Z, Y, X) in blocks; 3D networks have one block along Z."""
        self.bad_pixels = 0
        self.warnings: list[str] = []

    def close(self) -> None:
        """Give the lock back; does nothing the second time."""
        self._held.close()

    def begin(
        self, times: int, plan: TilePlan, asked: Mask, existing: Existing, now: Input, content: Callable[[], str]
    ) -> tuple[Step, str]:
        """Find out what is done already; return what to do with the position, and why when it is predicted anew.

        Parameters
        ----------
        asked : bool array, (T, Z, Y, X)
            The cells of the plan that are asked for.
        now : Input
            What would be predicted from.
        content : callable
            Reads the bytes of the pixels: asked only when nothing cheaper tells whether they changed.

        Raises
        ------
        DatasetError
            When it was predicted in another way, and nobody said that it may be replaced.
        """
        depth = 1 if plan.spec.dimensions is Dimensions.THREE else plan.shape[0]
        _, y, x = (-(-n // size) for n, size in zip(plan.shape, self._block, strict=True))
        shape = (times, depth, y, x)
        said = record_of(self._position)
        self.done = _from_ranges(said, shape)
        whole = bool(said.get("complete")) or not self.missing(plan, asked).any()
        step, why = next_step(said, self._recipe, lambda: now.changed_since(said, content), existing, whole)
        if step is Step.REFUSE:
            raise another_recipe(self._writer.path, self._position.key, why)
        self._input = now
        if step is Step.GO_ON:
            self._open(said)
        elif step is Step.ANEW:
            self._renew(shape, was_begun=is_begun(said))
        return step, why

    def note_content(self, content: "Future[str]") -> None:
        """Let the record hold the digest of the pixels' bytes, once it is known."""
        self._content = content

    @property
    def lacks_content(self) -> bool:
        """Whether nobody has read the bytes of the pixels yet."""
        return self._input is not None and not self._input.identity.content

    def missing(self, plan: TilePlan, wanted: Mask) -> Mask:
        """Return which of the `wanted` cells of a plan, (T, Z, Y, X), have a block that is not done."""
        missing = ~self.done
        sizes = (self.done.shape[1] if len(self.done[0]) == 1 else plan.size[0], *plan.size[1:])
        for axis, (size, block) in enumerate(zip(sizes, self._block, strict=True), 1):
            missing = np.logical_or.reduceat(missing, range(0, missing.shape[axis], -(-size // block)), axis=axis)
        return missing & wanted

    def write(self, t: int, tile: Tile, values: Mapping[str, Array], bad_pixels: int = 0) -> None:
        """Write what a tile owns, by task (C, Z, Y, X), then count it as done.

        Raises
        ------
        StorageError
            When the disk is full, or another process took the lock; what was done stays done.
        """
        with writing(self._writer.path):
            put_tile(self.array, self._outputs, t, tile, values)
        self.count(t, tile, bad_pixels)

    def count(self, t: int, tile: Tile, bad_pixels: int = 0) -> None:
        """Say in the store that what a tile owns is on disk."""
        self.done[(t, *self._blocks(tile.owned))] = True
        self.bad_pixels += bad_pixels
        self.save()

    def finish(self) -> None:
        """Say in the store what there is to say in the end, the digest of the pixels' bytes included."""
        if self._content is not None:
            self._content.result()
        self.save()

    def save(self) -> None:
        """Say in the store what is done."""
        assert self._input is not None
        self._lock.check()
        made_from = self._input
        if (content := self._digest()) is not None:
            made_from = replace(made_from, identity=replace(made_from.identity, content=content))
        said = {
            "settings": dict(self._recipe.settings),
            "fingerprint": self._recipe.fingerprint,
            "digest": self._recipe.digest,
            "details": dict(self._recipe.details),
            "computed_by": dict(self._recipe.computed_by),
            **made_from.as_record(),
            "tiles_done": _to_ranges(self.done),
            "tiles": list(self.done.shape),
            "complete": bool(self.done.all()),
            "bad_pixels": self.bad_pixels,
            "warnings": self.warnings,
        }
        with writing(self._writer.path):
            self._record(said)

    def _digest(self) -> str | None:
        """Return the digest of the pixels' bytes, if it is known by now.

        A stop ends the reading of the bytes with an error of its own: what was predicted is kept all the same.
        """
        content = self._content
        if content is None or not content.done() or content.cancelled() or content.exception() is not None:
            return None
        return content.result()

    def _record(self, said: Mapping[str, Any]) -> None:
        """Write the position's record, which is ours as long as we hold the lock: nobody waits for anybody."""
        if self._consolidated:
            record(self._position, prediction=said)  # the copy at the root is everybody's
            return
        known = read_attributes(self._position.folder).get(OURS)
        kept = known if isinstance(known, Mapping) else {}
        ours = {**kept, "schema_version": SCHEMA_VERSION, "prediction": said}
        write_attribute(self._position.folder, OURS, ours)

    def _open(self, said: Mapping[str, Any]) -> None:
        """Go on with the array that is there, and with what is known of the pixels."""
        import zarr

        assert self._input is not None
        self.array = zarr.open_array(self._position.folder / "0", mode="r+")
        if self.array.shape != tuple(self._planned.shape):
            rule = f"is there with shape {self.array.shape}, not {tuple(self._planned.shape)}"
            raise DatasetError("position", self._position.key, rule, "overwrite it with `--existing overwrite`")
        self.bad_pixels = int(said.get("bad_pixels", 0))
        known = Identity.parse(said.get("input"))
        if known is not None:
            self._input = self._input.joined(known, said.get("normalization"))
            if known != self._input.identity:  # the pixels were read to see that they are the same: not again
                self.save()

    def _renew(self, shape: tuple[int, ...], *, was_begun: bool) -> None:
        """Begin with an empty array, and with nothing done."""
        import zarr

        self.done = np.zeros(shape, bool)
        folder = self._position.folder / "0"
        self.save()  # first: whoever is killed now leaves an array that nobody trusts
        array = None if was_begun or not folder.is_dir() else zarr.open_array(folder, mode="r+")
        if array is None or array.shape != tuple(self._planned.shape):
            array = self._writer.create_position(self._planned)
            self.save()
        self.array = array

    def _blocks(self, owned: Region) -> tuple[slice, slice, slice]:
        z, y, x = (slice(part.start // n, -(-part.stop // n)) for part, n in zip(owned, self._block, strict=True))
        return (slice(0, 1) if self.done.shape[1] == 1 else z), y, x


def put_tile(array: Any, outputs: Sequence[OutputSpec], t: int, tile: Tile, values: Mapping[str, Array]) -> None:
    """Write what a tile owns into an array (T, C, Z, Y, X), the outputs one after the other along C."""
    z, y, x = tile.outputs[outputs[0].task]
    pixels = np.concatenate([values[output.task] for output in outputs])
    write_pixels(array, pixels[None], (t, 0, z.start, y.start, x.start))


def _to_ranges(done: Mask) -> str:
    """Return the places of what is done, counted X fastest, as ``0-11,14``."""
    edges = np.flatnonzero(np.diff(done.reshape(-1).astype(np.int8), prepend=0, append=0))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return ",".join(str(first) if stop - first == 1 else f"{first}-{stop - 1}" for first, stop in pairs)


def _from_ranges(said: Mapping[str, Any], shape: tuple[int, ...]) -> Mask:
    """Return what a record says is done, in blocks; nothing where it counts other blocks."""
    flat = np.zeros(int(np.prod(shape)), bool)
    if tuple(said.get("tiles", shape)) != shape:
        return flat.reshape(shape)
    for part in filter(None, str(said.get("tiles_done", "")).split(",")):
        first, _, last = part.partition("-")
        flat[int(first) : int(last or first) + 1] = True
    return flat.reshape(shape)


def another_recipe(path: Path, key: str, difference: str) -> DatasetError:
    """Return the error of a position that was predicted otherwise than it is asked for."""
    return DatasetError("predictions", path, f"hold what was predicted at {key} {difference}", REMEDY)
