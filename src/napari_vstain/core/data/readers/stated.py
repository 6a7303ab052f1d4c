"""What a person states of image files that say it wrongly, or not at all."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stated:
    """What a person states of files that say it wrongly, or not at all."""

    axes: str = ""
    """The axes that are stored, slowest first, some of TCZYX; empty: as the file says."""
    grey: bool = False
    """True when what the file calls the colours of one picture are channels of grey values."""


AS_WRITTEN = Stated()
"""Nothing is stated: a file is what it says."""
