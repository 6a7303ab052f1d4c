"""Rows that metrics.csv holds from before stay only as long as what they were computed from is still there.

A position whose pixels or prediction are others now keeps no row beside those of now: its numbers would pass for
numbers of these. Rows of earlier versions do not say what they are of; they are taken to be of the same.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from napari_vstain.core.data import Dataset
from napari_vstain.core.data.predicted import made_from, record_of
from napari_vstain.core.evaluation.predicted_stores import Predictions
from napari_vstain.core.evaluation.seen_pixels import SeenPixels
from napari_vstain.core.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMED = 3


class Computed(NamedTuple):
    """What rows are of, and what they were computed from, as their columns say it."""

    run: str
    dataset: str
    position: str
    channel: str
    prediction: str
    target: str


def outdated_units(
    table: "pd.DataFrame", predictions: Predictions, dataset: Dataset, seen: SeenPixels, progress: Progress
) -> set[Computed]:
    """Return what of a table is of pixels or predictions of a dataset that are no longer there, by whole positions.

    Whether another run than the one at hand has predicted again is not known here: only its targets are looked at.
    """
    units = [unit for unit in _units(table) if unit.dataset == dataset.name and unit.position not in dataset.unusable]
    gone = set()
    for unit in dict.fromkeys(units):
        progress.check()
        if (unit.run == predictions.run and _is_predicted_otherwise(unit, predictions, dataset)) or (
            unit.target and unit.target != seen.digest(unit.position, unit.channel, progress.check)
        ):
            gone.add((unit.run, unit.position))
    return {unit for unit in units if (unit.run, unit.position) in gone}


def without_units(table: "pd.DataFrame", units: Collection[Computed]) -> "pd.DataFrame":
    """Return the rows that are of none of the units."""
    return table[[unit not in units for unit in _units(table)]]


def what_went(units: Collection[Computed]) -> tuple[str, ...]:
    """Return a sentence on the positions that keep no row; none if all do."""
    gone = sorted({f"{unit.position} ({unit.run})" if unit.run else unit.position for unit in units})
    if not gone:
        return ()
    more = f" and {len(gone) - _MOST_NAMED} more" if len(gone) > _MOST_NAMED else ""
    named = ", ".join(gone[:_MOST_NAMED]) + more
    return (f"The numbers of {named} in the table were of other pixels or predictions, and went: evaluate them again.",)


def _units(table: "pd.DataFrame") -> list[Computed]:
    return list(map(Computed._make, table[list(Computed._fields)].itertuples(index=False, name=None)))


def _is_predicted_otherwise(unit: Computed, predictions: Predictions, dataset: Dataset) -> bool:
    if unit.position not in predictions.store.positions:
        return True
    if predictions.problem(unit.position, dataset.positions.get(unit.position)):
        return True
    now = made_from(record_of(predictions.store.position(unit.position)))
    return unit.prediction not in ("", now)
