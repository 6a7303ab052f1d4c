"""What a model says of its training: the dataset, and the part that each position played."""

from collections.abc import Sequence

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
    if dataset := predictions.spec.training.dataset:
        return dataset
    rule = "does not say which dataset it was trained on"
    raise DatasetError("model", predictions.spec.name or predictions.run, rule, "name the dataset to evaluate on")


def parts_of(predictions: Predictions, dataset: Dataset, workspace: Workspace) -> dict[str, str]:
    """Return each position's part in the training; none when another dataset was trained on."""
    try:
        if workspace.find_dataset(trained_on(predictions)).resolve() != dataset.path.resolve():
            return {}
    except VstainError:
        return {}
    return predictions.spec.training.positions.parts


def slices_of(dataset: Dataset, keys: Sequence[str], most: int) -> list[tuple[str, int, int]]:
    """Return at most `most` (position, t, z), spread evenly over all there are."""
    if not keys:
        raise DatasetError("training positions", None, "the model does not name any", "train it again")
    places = [(key, *tz) for key in keys for tz in np.ndindex(*_times_and_slices(dataset.position(key)))]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [places[index] for index in chosen]


def _times_and_slices(position: Position) -> tuple[int, int]:
    return position.shape[0], position.shape[2]
