"""A patch index knows where patches may be cut, and draws where the next ones are."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_vstain.core.training.patch_settings import PatchSettings
from napari_vstain.core.training.stacks import Stack


@dataclass(frozen=True)
class Place:
    """Where a patch is cut: the stack at one time of one position, from these corners on."""

    stack: int
    """Which of the reader's stacks."""
    z: int
    """First slice."""
    y: int
    x: int
    """First row and column, in pixels of the image; below 0 in the margin."""


class PatchIndex(ABC):
    """The places that a training learns from.

    `RandomPlaces` computes them; another index may keep a table, of what was hard or of what somebody marked. It is
    made of a `PatchReader`, once its images are in memory, and asked from several threads.
    """

    @abstractmethod
    def draw(self, count: int, random: np.random.Generator) -> list[Place]:
        """Return the places of the next `count` patches; the same state of `random` gives the same ones."""

    @abstractmethod
    def where(self, **query: object) -> "PatchIndex":
        """Return the index of those places alone that a query matches: by name one value, or several in a collection.

        Raises
        ------
        SettingsError
            When places are not known by a name, or none matches.
        """


def grid_places(stacks: Sequence[Stack], settings: PatchSettings, most: int) -> list[Place]:
    """Return at most `most` places that cover the stacks side by side, evenly left out where they are more."""
    margin, step = settings.margin_px, settings.size_px - 2 * settings.margin_px
    places = []
    for index, stack in enumerate(stacks):
        rows, columns = (_starts(length, step) for length in stack.shape[1:])
        slices = range(0, stack.windows(settings.z_window), settings.z_window)
        places += [Place(index, z, y - margin, x - margin) for z in slices for y in rows for x in columns]
    kept = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [places[index] for index in kept]


def _starts(length: int, step: int) -> list[int]:
    """Return where steps start that cover a length; the last ends where it ends."""
    return sorted({min(start, length - step) for start in range(0, length, step)})
