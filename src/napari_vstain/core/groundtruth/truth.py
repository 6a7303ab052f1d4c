"""The ground truth of an experiment, read from the stores that annotation writes; nothing is changed here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.data import Position, open_dataset, recorded
from napari_vstain.core.data.labels import LabelImage
from napari_vstain.core.errors import DatasetError

UNREVIEWED = "unreviewed"
"""The verdict of a position of which nobody said anything."""


@dataclass(frozen=True)
class GroundTruth:
    """The stores below a folder; several may speak of one position, and the last by name counts."""

    folder: Path

    def verdicts(self) -> dict[str, str]:
        """Return what a person said of each position's ground truth, where somebody did, by key."""
        said = {}
        for position in self._positions():
            review = recorded(position, "review")
            if isinstance(review, Mapping) and "verdict" in review:
                said[position.key] = str(review["verdict"])
        return said

    def verdict(self, key: str) -> str:
        """Return what a person said of one position."""
        return self.verdicts().get(key, UNREVIEWED)

    def labels(self, key: str, name: str) -> LabelImage:
        """Return the labels of a position that were drawn under a name.

        Raises
        ------
        DatasetError
            When none were drawn, or they cannot be read.
        """
        drawn = [one for one in self._positions() if one.key == key and name in one.label_names()]
        if not drawn:
            raise DatasetError("position", key, f"has no labels {name} in {self.folder}", "draw them first")
        return drawn[-1].labels(name)

    def _positions(self) -> Iterator[Position]:
        for path in sorted(self.folder.glob("*.zarr")):
            yield from open_dataset(path).positions.values()
