"""What a model says of its training: the dataset, and the part that each position played."""

from collections.abc import Mapping, Sequence

import numpy as np

from napari_vstain.core.data import Dataset, Position
from napari_vstain.core.errors import DatasetError, VstainError
from napari_vstain.core.evaluation.predicted_stores import Predictions
from napari_vstain.core.workspace import Workspace


def trained_on(predictions: Predictions) -> str:
    """Return the name or path of the dataset that the predicting model was trained on.

    Raises
    ------
    DatasetError
        When the model does not say.
    """
    dataset = predictions.spec.training.get("dataset")
    if isinstance(dataset, str) and dataset:
        return dataset
    rule = "does not say which dataset it was trained on"
    raise DatasetError("model", predictions.spec.name or predictions.run, rule, "name the dataset to evaluate on")


def part_of(predictions: Predictions, part: str) -> tuple[str, ...]:
    """Return the positions of one part of the training, ``train``, ``validate`` or ``test``."""
    positions = predictions.spec.training.get("positions")
    return tuple(positions.get(part, ())) if isinstance(positions, Mapping) else ()


def parts_of(predictions: Predictions, dataset: Dataset, workspace: Workspace) -> dict[str, str]:
    """Return each position's part in the training; none when another dataset was trained on."""
    try:
        if workspace.find_dataset(trained_on(predictions)).resolve() != dataset.path.resolve():
            return {}
    except VstainError:
        return {}
    return {key: part for part in ("test", "validate", "train") for key in part_of(predictions, part)}


def slices_of(dataset: Dataset, keys: Sequence[str], most: int) -> list[tuple[str, int, int]]:
    """Return at most `most` (position, t, z), spread evenly over all there are."""
    if not keys:
        raise DatasetError("training positions", None, "the model does not name any", "train it again")
    places = [(key, *tz) for key in keys for tz in np.ndindex(*_times_and_slices(dataset.position(key)))]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [places[index] for index in chosen]


def _times_and_slices(position: Position) -> tuple[int, int]:
    return position.shape[0], position.shape[2]
