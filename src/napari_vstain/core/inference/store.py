"""Predictions on disk: the dataset's positions again, one channel a target, and which of it is done.

A plate like the dataset's, float32, in the targets' units, in blocks of 512 px. What a tile covers counts as done
only once its blocks are on disk, so that a run that was stopped, or killed, goes on where it was.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.data import Position, create_plate, open_dataset, record, recorded, write_pixels
from napari_vstain.core.errors import DatasetError, ModelError
from napari_vstain.core.files import writing
from napari_vstain.core.inference.cells import Mask
from napari_vstain.core.inference.engines.base import Array
from napari_vstain.core.inference.memory import BLOCK_PX
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.tiles import Region, Tile, TilePlan
from napari_vstain.core.models.padding import round_up
from napari_vstain.core.models.spec import Dimensions, OutputSpec

if TYPE_CHECKING:
    from napari_vstain.core.data.plate import PlateWriter


class Existing(StrEnum):
    """What to do with a position that has predictions already."""

    RESUME = "resume"
    OVERWRITE = "overwrite"
    SKIP = "skip"


def block_size(predictor: Predictor) -> tuple[int, int]:
    """Return the part of the input, (Y, X) in pixels, that one stored block shows."""
    y, x = (round_up(BLOCK_PX, stride) for stride in predictor.spec.stride[1:])
    return y, x


@dataclass(frozen=True)
class Recipe:
    """All that decides what a prediction's values are."""

    settings: Mapping[str, Any]
    fingerprint: str
    """Of the model."""
    details: Mapping[str, Any]
    """Source channels, augmentation, precision…"""

    @property
    def digest(self) -> str:
        """16 hex digits; predictions of the same digest go on where they were."""
        text = json.dumps([self.fingerprint, self.details], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class PositionStore:
    """The predictions of one position. Written from one thread at a time."""

    def __init__(self, folder: Path, position: Position, array: Any, predictor: Predictor, recipe: Recipe) -> None:
        self._folder = folder
        self._position = position
        self.array = array
        self._outputs = predictor.spec.outputs
        self._block = (1, *block_size(predictor))
        self._recipe = recipe
        self.done: Mask = np.zeros(0, bool)
        """(T, Z, Y, X) in blocks; 3D networks have one block along Z."""
        self.bad_pixels = 0
        self.warnings: list[str] = []

    def begin(self, times: int, plan: TilePlan, existing: Existing) -> bool:
        """Find what is done already; return False when the position is to be left as it is."""
        depth = 1 if plan.spec.dimensions is Dimensions.THREE else plan.shape[0]
        _, y, x = (-(-n // size) for n, size in zip(plan.shape, self._block, strict=True))
        self.done = np.zeros((times, depth, y, x), bool)
        known = recorded(self._position, "prediction") or {}
        if existing is Existing.SKIP and known:
            return False
        if existing is Existing.RESUME and known.get("digest") == self._recipe.digest:
            self.done = _from_ranges(str(known.get("tiles_done", "")), self.done.shape)
            self.bad_pixels = int(known.get("bad_pixels", 0))
        else:
            self.save()
        return True

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
            When the disk is full; what was done stays done.
        """
        with writing(self._folder):
            put_tile(self.array, self._outputs, t, tile, values)
        self.count(t, tile, bad_pixels)

    def count(self, t: int, tile: Tile, bad_pixels: int = 0) -> None:
        """Say in the store that what a tile owns is on disk."""
        self.done[(t, *self._blocks(tile.owned))] = True
        self.bad_pixels += bad_pixels
        self.save()

    def save(self) -> None:
        """Say in the store what is done."""
        said = {
            "settings": dict(self._recipe.settings),
            "fingerprint": self._recipe.fingerprint,
            "digest": self._recipe.digest,
            "details": dict(self._recipe.details),
            "tiles_done": _to_ranges(self.done),
            "tiles": list(self.done.shape),
            "complete": bool(self.done.all()),
            "bad_pixels": self.bad_pixels,
            "warnings": self.warnings,
        }
        with writing(self._folder):
            record(self._position, prediction=said)

    def _blocks(self, owned: Region) -> tuple[slice, slice, slice]:
        z, y, x = (slice(part.start // n, -(-part.stop // n)) for part, n in zip(owned, self._block, strict=True))
        return (slice(0, 1) if self.done.shape[1] == 1 else z), y, x


def put_tile(array: Any, outputs: Sequence[OutputSpec], t: int, tile: Tile, values: Mapping[str, Array]) -> None:
    """Write what a tile owns into an array (T, C, Z, Y, X), the outputs one after the other along C."""
    z, y, x = tile.outputs[outputs[0].task]
    pixels = np.concatenate([values[output.task] for output in outputs])
    write_pixels(array, pixels[None], (t, 0, z.start, y.start, x.start))


class PredictionStore:
    """A plate of predictions that is there, or is made, for a predictor's outputs.

    Raises
    ------
    DatasetError
        When the store holds predictions of another dataset, or of other targets and may not be overwritten.
    ModelError
        When the model's outputs do not share one scale.
    StorageError
        When the folder takes no data.
    """

    def __init__(self, path: Path, predictor: Predictor, recipe: Recipe, existing: Existing) -> None:
        outputs = predictor.spec.outputs
        if len({output.scale for output in outputs}) > 1:
            tasks = ", ".join(output.task for output in outputs)
            raise ModelError("outputs", tasks, "must share one scale to be stored together", "predict them in a script")
        self.path = path
        self.channels = tuple(name for output in outputs for name in predictor.channel_names(output))
        self._predictor, self._recipe = predictor, recipe
        _check_dataset(path, recipe)
        self._writer = _writer(path, self.channels, existing)

    def position(self, source: Position, plan: TilePlan) -> PositionStore:
        """Return where the predictions of a position of the dataset go."""
        output = self._predictor.spec.outputs[0]
        sizes = plan.output_shape(output)
        y, x = (round(n * factor) for n, factor in zip(block_size(self._predictor), output.scale[1:], strict=True))
        chunks = (1, 1, 1, min(y, sizes[1]), min(x, sizes[2]))
        shape = (source.shape[0], len(self.channels), *sizes)
        spacing, translation = _placed(source, output.scale)
        array = self._writer.add_position(source.key, shape, np.float32, spacing, translation, chunks)
        position = open_dataset(self.path).position(source.key)
        return PositionStore(self.path, position, array, self._predictor, self._recipe)

    def set_contrast_limits(self, key: str) -> None:
        """Say in the store how its targets are best shown."""
        targets = {channel for output in self._predictor.model.outputs for channel in output.channels}
        limits = {f"{channel}_prediction": self._predictor.contrast_limits(channel) for channel in targets}
        self._writer.set_contrast_limits(key, limits)


def predicted_datasets(path: Path) -> set[str]:
    """Return which datasets the predictions of a store, which need not be there, are of."""
    if not path.is_dir():
        return set()
    said = (recorded(position, "prediction") or {} for position in open_dataset(path).positions.values())
    return {str(name) for one in said if (name := one.get("details", {}).get("dataset"))}


def _check_dataset(path: Path, recipe: Recipe) -> None:
    ours = str(recipe.details.get("dataset"))
    for theirs in predicted_datasets(path) - {ours}:
        rule = f"holds predictions of {theirs}, not of {ours}"
        raise DatasetError("predictions", path, rule, "choose another output, or remove the store")


def _writer(path: Path, channels: Sequence[str], existing: Existing) -> "PlateWriter":
    try:
        return create_plate(path, channels, existing="extend")
    except DatasetError as error:
        if existing is Existing.OVERWRITE:
            return create_plate(path, channels, existing="replace")
        rule = f"cannot be gone on with: {error.rule}"
        raise DatasetError("predictions", path, rule, "overwrite them, or choose another run") from error


def _placed(source: Position, scale: Sequence[float]) -> tuple[tuple[float | None, float, float] | None, Any]:
    """Return the voxel size and the place of an output that is scaled; a projection keeps the stack's."""
    if source.spacing_um is None or all(factor == 1 for factor in scale):
        return source.spacing_um, source.translation_um
    factors = [factor or 1 for factor in scale]
    z, y, x = source.spacing_um
    spacing = (z and z / factors[0], y / factors[1], x / factors[2])
    moved = [
        start + (new - old) / 2 if new and old else start
        for start, new, old in zip(source.translation_um, spacing, source.spacing_um, strict=True)
    ]
    return spacing, (moved[0], moved[1], moved[2])


def _to_ranges(done: Mask) -> str:
    """Return the places of what is done, counted X fastest, as ``0-11,14``."""
    edges = np.flatnonzero(np.diff(done.reshape(-1).astype(np.int8), prepend=0, append=0))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return ",".join(str(first) if stop - first == 1 else f"{first}-{stop - 1}" for first, stop in pairs)


def _from_ranges(text: str, shape: tuple[int, ...]) -> Mask:
    flat = np.zeros(int(np.prod(shape)), bool)
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        flat[int(first) : int(last or first) + 1] = True
    return flat.reshape(shape)
