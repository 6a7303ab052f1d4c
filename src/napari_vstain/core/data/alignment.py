"""Channels of a position are laid over each other by whole pixels, and all positions are cropped alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_vstain.core.arrays import TCZYX
from napari_vstain.core.data.registration import Shift, find_shift
from napari_vstain.core.data.source_files import PositionFiles, check_channel
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.progress import Progress

Shifts = Mapping[str, Mapping[str, Shift]]


@dataclass(frozen=True)
class Alignment:
    """How each channel of each position is shifted, and how much every image loses at its edges."""

    reference: str = ""
    """The channel that stays; empty when nothing is shifted."""
    shifts: Shifts = field(default_factory=dict)
    """By position and channel."""

    @property
    def shifts_px(self) -> dict[str, dict[str, tuple[int, int]]]:
        """By position and channel, (Y, X)."""
        return {
            key: {channel: (shift.y_px, shift.x_px) for channel, shift in of.items()} for key, of in self.shifts.items()
        }

    @property
    def top(self) -> int:
        """Rows of the reference that are cut away at the top."""
        return max((-y for y, _ in self._all), default=0)

    @property
    def left(self) -> int:
        """Columns of the reference that are cut away on the left."""
        return max((-x for _, x in self._all), default=0)

    @property
    def bottom(self) -> int:
        """Rows of the reference that are cut away at the bottom."""
        return max((y for y, _ in self._all), default=0)

    @property
    def right(self) -> int:
        """Columns of the reference that are cut away on the right."""
        return max((x for _, x in self._all), default=0)

    def cropped(self, shape: TCZYX) -> TCZYX:
        """Return the shape of what is left of an image."""
        t, c, z, y, x = shape
        return t, c, z, y - self.top - self.bottom, x - self.left - self.right

    def region(self, key: str, channel: str, shape: TCZYX) -> tuple[slice, slice]:
        """Return the rows and columns of a channel that lie over what is left of the reference."""
        y, x = self.shifts_px.get(key, {}).get(channel, (0, 0))
        rows = slice(self.top + y, shape[3] - self.bottom + y)
        return rows, slice(self.left + x, shape[4] - self.right + x)

    def note(self, key: str) -> dict[str, Any]:
        """Return what is recorded of a position."""
        if not self.reference:
            return {}
        found = {
            channel: {
                "shift_px": [shift.y_px, shift.x_px],
                "correlation": round(shift.correlation, 4),
                "found_here": shift.trusted,
            }
            for channel, shift in self.shifts[key].items()
            if channel != self.reference
        }
        cut = {"top": self.top, "bottom": self.bottom, "left": self.left, "right": self.right}
        return {"registration": {"reference": self.reference, "channels": found, "cropped_px": cut}}

    @property
    def _all(self) -> list[tuple[int, int]]:
        """Every shift, and none: what an image loses at an edge is never negative."""
        return [(0, 0), *(shift for of in self.shifts_px.values() for shift in of.values())]


def align(sources: Mapping[str, PositionFiles], reference: str, limit_px: int, progress: Progress) -> Alignment:
    """Return how the channels of each position are shifted onto `reference`; not at all when it is empty.

    Where the channels of a position have too little in common, the shift is the median of the other positions'.

    Raises
    ------
    SettingsError
        When there is no channel of that name.
    DatasetError
        When a channel matches the reference at no position.
    """
    if not reference:
        return Alignment()
    check_channel(reference, next(iter(sources.values())).channels)
    progress.phase("Registering channels", len(sources), "positions")
    found: dict[str, dict[str, Shift]] = {}
    for key, source in sources.items():
        found[key] = _shifts_of(source, reference, limit_px, progress)
        progress.advance()
    return Alignment(reference, _repaired(found, reference, limit_px))


def _shifts_of(source: PositionFiles, reference: str, limit_px: int, progress: Progress) -> dict[str, Shift]:
    if min(source.shape[3:]) <= 4 * limit_px:
        rule = f"is too small to be registered within {limit_px} px"
        raise DatasetError("position", source.name, rule, "lower the largest shift, or do not register")
    middle = source.shape[2] // 2
    still = source.plane(reference, 0, middle)
    shifts = {}
    for channel in source.channels:
        progress.check()
        if channel == reference:
            shifts[channel] = Shift()
        else:
            shifts[channel] = find_shift(still, source.plane(channel, 0, middle), limit_px)
    return shifts


def _repaired(found: Mapping[str, Mapping[str, Shift]], reference: str, limit_px: int) -> Shifts:
    channels = next(iter(found.values()))
    usual = {channel: _usual(channel, found, reference, limit_px) for channel in channels if channel != reference}
    return {
        key: {
            channel: shift
            if shift.trusted
            else Shift(*usual[channel], correlation=shift.correlation, at_limit=shift.at_limit)
            for channel, shift in of.items()
        }
        for key, of in found.items()
    }


def _usual(channel: str, found: Mapping[str, Mapping[str, Shift]], reference: str, limit_px: int) -> tuple[int, int]:
    trusted = [of[channel] for of in found.values() if of[channel].trusted]
    if not trusted:
        rule = f"matches {reference} nowhere within {limit_px} px"
        raise DatasetError("channel", channel, rule, "raise the largest shift, or do not register")
    return (
        round(float(np.median([shift.y_px for shift in trusted]))),
        round(float(np.median([shift.x_px for shift in trusted]))),
    )
