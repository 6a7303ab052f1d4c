"""A layout tells of each file below a source which position, channel, time and slice its planes are of."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class PlaneRef:
    """What planes a file holds; what the layout does not tell is empty, or 0, and left to the file."""

    path: Path
    position: str = ""
    channel: str = ""
    row: str = ""
    column: str = ""
    t: int = 0
    """Of the file's first plane."""
    z: int = 0
    """Of the file's first plane."""


class Layout(Protocol):
    """How the files of a source are arranged."""

    def planes(self, source: Path) -> Iterator[PlaneRef]:
        """Yield what each file holds, in natural order of their paths.

        Raises
        ------
        DatasetError
            When the source is not there, or nothing in it has this layout.
        """

    def others(self, source: Path) -> list[str]:
        """Return files that look like images of the source and are not in its layout, as paths below it."""
