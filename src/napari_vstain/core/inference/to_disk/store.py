"""Predictions on disk: the dataset's positions again, one channel a target, made once for all who fill them.

A plate like the dataset's, float32, in the targets' units, in blocks of 512 px. All positions that are asked for are
made and listed at once, under the store's lock; from then on each is changed by whoever holds its own lock, and nobody
touches what another one listed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_vstain.core.data import Dataset, NewPosition, Position, create_plate, open_dataset
from napari_vstain.core.data.attributes import OURS, SCHEMA_VERSION, AttributeStore
from napari_vstain.core.data.identity import Identity, is_still
from napari_vstain.core.data.predicted import (
    STORE,
    datasets_of,
    is_begun,
    lists_wells,
    plate_attributes_at,
    record_of,
    resolved_name,
    shared_at,
)
from napari_vstain.core.data.zarr_groups import is_consolidated, ome_attributes
from napari_vstain.core.errors import BusyError, DatasetError, ModelError
from napari_vstain.core.files import remove_leftovers, writing
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.recipe import Existing, Recipe
from napari_vstain.core.inference.to_disk.position_store import REMEDY, PositionStore, another_recipe, block_size
from napari_vstain.core.locks import holder, locked
from napari_vstain.core.tiling.plan import TilePlan

if TYPE_CHECKING:
    from napari_vstain.core.data.plate import PlateWriter

_SUFFIXES = ("_prediction", "_uncertainty")
_FOREVER = float("inf")


class PredictionStore:
    """Where a predictor's outputs go; nothing is read or written before `prepare`.

    Parameters
    ----------
    path : Path
        The store, which need not be there.
    known_as : str
        The dataset, by its name in the workspace or its path.
    token : str
        What the dataset got when it was made, or nothing.
    order : sequence of str
        The dataset's positions.

    Raises
    ------
    ModelError
        When the model's outputs do not share one scale.
    """

    def __init__(
        self,
        path: Path,
        predictor: Predictor,
        recipe: Recipe,
        existing: Existing,
        known_as: str = "",
        token: str = "",
        order: Sequence[str] = (),
    ) -> None:
        outputs = predictor.spec.outputs
        if len({output.scale for output in outputs}) > 1:
            tasks = ", ".join(output.task for output in outputs)
            raise ModelError("outputs", tasks, "must share one scale to be stored together", "predict them in a script")
        self.path = path
        self.channels = tuple(name for output in outputs for name in predictor.channel_names(output))
        if twice := {name for name in self.channels if self.channels.count(name) > 1}:
            rule = f"two of the model's outputs are both stored as {min(twice)}"
            raise ModelError("outputs", ", ".join(o.task for o in outputs), rule, "predict them in a script")
        self.recipe, self.existing = recipe, existing
        self._predictor = predictor
        self._known_as, self._token, self._order = known_as, token, tuple(order)
        self._writer: PlateWriter | None = None
        self._consolidated = False

    def prepare(self, positions: Sequence[tuple[Position, TilePlan]], check: Callable[[], None]) -> None:
        """Make the store, and in it those of the positions that are not there yet.

        Parameters
        ----------
        check : callable
            Called while another process prepares the store, to raise Cancelled for instance.

        Raises
        ------
        BusyError
            When the store is to be replaced and another process is filling it.
        DatasetError
            When something is there that may not be gone on with.
        StorageError
            When the folder takes no data.
        """
        with locked(self.path, _FOREVER, check):
            self._writer = self._opened({position.key: position for position, _ in positions})
            self._consolidated = is_consolidated(self.path)
            self._writer.add_positions([self.planned(position, plan) for position, plan in positions], self._order)

    def position(self, source: Position, plan: TilePlan, wait: Callable[[], None] | None = None) -> PositionStore:
        """Return where the predictions of a position go, once no other process writes them; close it in the end.

        Parameters
        ----------
        wait : callable, optional
            Wait for another process that is predicting the position, and call this meanwhile.

        Raises
        ------
        BusyError
            When another process is predicting it, and nothing is said of waiting.
        """
        assert self._writer is not None, "prepare the store first"
        position = Position(source.key, self.path / source.key, AttributeStore(self.path))
        with ExitStack() as held:
            lock = held.enter_context(locked(position.folder, _FOREVER if wait else 0, wait))
            return PositionStore(
                self._writer,
                position,
                self.planned(source, plan),
                self._predictor,
                self.recipe,
                lock,
                held.pop_all(),
                consolidated=self._consolidated,
            )

    def planned(self, source: Position, plan: TilePlan) -> NewPosition:
        """Return the position that is to hold the predictions of one of the dataset."""
        output = self._predictor.spec.outputs[0]
        sizes = plan.output_shape(output)
        y, x = (round(n * factor) for n, factor in zip(block_size(self._predictor), output.scale[1:], strict=True))
        spacing, translation = _placed(source, output.scale)
        return NewPosition(
            source.key,
            (source.shape[0], len(self.channels), *sizes),
            np.float32,
            spacing,
            translation,
            (1, 1, 1, min(y, sizes[1]), min(x, sizes[2])),
            self._limits(),
        )

    def _limits(self) -> dict[str, tuple[float, float]]:
        """Return how the targets are best shown."""
        targets = {channel for output in self._predictor.model.outputs for channel in output.channels}
        return {f"{channel}_prediction": self._predictor.contrast_limits(channel) for channel in targets}

    def _opened(self, asked: Mapping[str, Position]) -> "PlateWriter":
        """Return the writer of the store: the one that is there, a new one, or a new one in its place."""
        found = _found(self.path)
        if found is None:
            if _is_plate(self.path):
                _check_replaceable(self.path, None, self.existing)
            gone = _is_plate(self.path) and lists_wells(self.path)
            writer = create_plate(self.path, self.channels, existing="replace" if gone else "extend")
        elif self._is_replaced(found, asked):
            _check_replaceable(self.path, found, self.existing)
            writer = create_plate(self.path, self.channels, existing="replace")
        else:
            writer = create_plate(self.path, self.channels, existing="extend")
        known = shared_at(self.path)
        shared: dict[str, Any] = {
            "dataset": self._known_as,
            "token": self._token,
            "fingerprint": self.recipe.fingerprint,
            "details": dict(self.recipe.details),
        }
        if any(known.get(name) != value for name, value in shared.items()):
            shared["pixels_at_once"] = self._predictor.runner.network_pixels
            shared["computed_by"] = dict(self.recipe.computed_by)
            writer.set_attribute(OURS, {"schema_version": SCHEMA_VERSION, STORE: shared})
        return writer

    def _is_replaced(self, found: Dataset, asked: Mapping[str, Position]) -> bool:
        """Return True when the store cannot hold what is asked for; raise when nobody said that it may go."""
        begun = {key: said for key in found.positions if is_begun(said := record_of(found.position(key)))}
        fits = found.channels == self.channels and self._is_of_ours(found, begun, asked)
        if not begun or self.existing is Existing.OVERWRITE:
            return not fits
        if not fits:
            has, ours = (", ".join(channels) for channels in (found.channels, self.channels))
            theirs = next(iter(datasets_of(found)), "another dataset")
            rule = f"holds the channels {has}, not {ours}"
            if found.channels == self.channels:
                rule = f"holds predictions of {theirs}, not of {self._known_as}"
            raise DatasetError("predictions", self.path, rule, REMEDY)
        for key in asked if self.existing is Existing.RESUME else ():
            if difference := self.recipe.differs_from(begun[key]) if key in begun else "":
                raise another_recipe(self.path, key, difference)
        return False

    def _is_of_ours(
        self, found: Dataset, begun: Mapping[str, Mapping[str, Any]], asked: Mapping[str, Position]
    ) -> bool:
        """Return True if the store is of our dataset: by the dataset's mark, its name, or the pixels of a position."""
        token = str(shared_at(found.path).get("token", ""))
        names = set(map(resolved_name, datasets_of(found)))
        if not names or names == {resolved_name(self._known_as)} or (token and token == self._token):
            return True
        channels = self.recipe.details.get("sources", ())
        known = ((asked[key], Identity.parse(said.get("input"))) for key, said in begun.items() if key in asked)
        return any(one is not None and is_still(position, channels, one) for position, one in known)


def _found(path: Path) -> Dataset | None:
    """Return a store, or None when there is none, or it lists no position or cannot be read."""
    try:
        return open_dataset(path)
    except DatasetError:
        return None


def _is_plate(path: Path) -> bool:
    """Return True if a folder is a plate; refuse a folder that holds anything else."""
    if not path.exists():
        return False
    if "plate" in ome_attributes(plate_attributes_at(path)):
        return True
    if path.is_dir():
        remove_leftovers(path)  # of a process that died before it wrote the first file
    if not path.is_dir() or any(path.iterdir()):
        raise DatasetError("predictions", path, "is something else, and stays as it is", "choose another output")
    with writing(path):
        path.rmdir()
    return False


def _check_replaceable(path: Path, found: Dataset | None, existing: Existing) -> None:
    """Refuse to replace what is no store of predictions, or is damaged and nobody said so, or is being filled."""
    marked = bool(shared_at(path))
    if found is None and lists_wells(path) and marked and existing is not Existing.OVERWRITE:
        raise DatasetError("predictions", path, "cannot be read", REMEDY)
    ours = not lists_wells(path) if found is None else all(name.endswith(_SUFFIXES) for name in found.channels)
    if not (ours or marked):
        raise DatasetError("predictions", path, "is something else, and stays as it is", "choose another output")
    for key in found.positions if found is not None else ():
        if (busy := holder(path / key)) is not None:
            rule = f"{busy.owner.shown} is predicting {key}"
            raise BusyError("predictions", path, rule, "wait for it to end, or stop it")


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
