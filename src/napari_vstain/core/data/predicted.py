"""What a store of predictions says of itself: of all its positions, and of each."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_vstain.core.data.attributes import OURS, recorded
from napari_vstain.core.data.dataset import Dataset, open_dataset
from napari_vstain.core.data.identity import Identity
from napari_vstain.core.data.position import Position
from napari_vstain.core.data.zarr_groups import ome_attributes, read_attributes
from napari_vstain.core.errors import DatasetError

STORE = "predictions"
"""The key, in our attributes of a store, of what all its positions share."""


class NothingPredictedError(DatasetError):
    """A store of predictions that is empty yet."""

    def __init__(self, path: Path) -> None:
        super().__init__("predictions", path, "nothing is predicted yet", "run `vstain predict`")


def record_of(position: Position) -> Mapping[str, Any]:
    """Return what the store says of a predicted position; nothing where it says nothing."""
    said = recorded(position, "prediction")
    return said if isinstance(said, Mapping) else {}


def shared_at(path: Path) -> Mapping[str, Any]:
    """Return what a store says of all its positions; nothing for one of an earlier version, or where there is none."""
    ours = plate_attributes_at(path).get(OURS)
    said = ours.get(STORE) if isinstance(ours, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def datasets_of(store: Dataset) -> set[str]:
    """Return which datasets the predictions of a store are of, by name or path."""
    if (name := shared_at(store.path).get("dataset")) is not None:
        return {str(name)}
    details = (record_of(position).get("details") for position in store.positions.values())
    return {str(one["dataset"]) for one in details if isinstance(one, Mapping) and one.get("dataset")}


def made_from(said: Mapping[str, Any]) -> str:
    """Return 16 hex digits of how a position was predicted and from what: model, options, pixels, normalization.

    Nothing where the record is of an earlier version, which did not note the pixels.
    """
    pixels = Identity.parse(said.get("input"))
    if pixels is None:
        return ""
    known = [said.get("digest"), pixels.layout, pixels.content or pixels.token, said.get("normalization")]
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]


def is_begun(said: Mapping[str, Any]) -> bool:
    """Return True if a position's record says that something is predicted."""
    return bool(said) and said.get("tiles_done") != ""


def open_predictions(path: Path) -> Dataset:
    """Return a store of predictions in which something is predicted.

    Raises
    ------
    NothingPredictedError
        When there is none, or nothing is predicted yet.
    DatasetError
        When it cannot be read.
    """
    if not path.is_dir() or not lists_wells(path):
        raise NothingPredictedError(path)
    store = open_dataset(path)
    if not any(is_begun(record_of(position)) for position in store.positions.values()):
        raise NothingPredictedError(path)
    return store


def lists_wells(path: Path) -> bool:
    """Return True if a folder is a plate that lists wells."""
    plate = ome_attributes(plate_attributes_at(path)).get("plate")
    return bool(isinstance(plate, Mapping) and plate.get("wells"))


def plate_attributes_at(path: Path) -> dict[str, Any]:
    """Return a group's attributes; nothing where there is none, or none that can be read."""
    try:
        return read_attributes(path)
    except DatasetError:
        return {}


def resolved_name(dataset: str) -> str:
    """Return a dataset's name, or its path as it is spelled shortest."""
    return str(Path(dataset).resolve()) if len(Path(dataset).parts) > 1 else dataset
