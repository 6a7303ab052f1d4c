"""Lengths as files give them, in micrometres; a length that is not known stays unknown."""

import math
from collections.abc import Sequence

from napari_vstain.core.arrays import Spacing

LIKELY_UM = (0.005, 25.0)
"""Sizes of a pixel that light microscopes make; 72 dots an inch, a screen's resolution, are 353 µm."""

_METRES = {
    "meter": 1e6, "m": 1e6, "decimeter": 1e5, "dm": 1e5, "centimeter": 1e4, "cm": 1e4, "millimeter": 1e3, "mm": 1e3,
    "micrometer": 1.0, "micron": 1.0, "um": 1.0, "µm": 1.0, "µ": 1.0, "nanometer": 1e-3, "nm": 1e-3,
    "angstrom": 1e-4, "å": 1e-4, "picometer": 1e-6, "pm": 1e-6, "femtometer": 1e-9, "fm": 1e-9,
    "inch": 25400.0, "inches": 25400.0, "in": 25400.0, '"': 25400.0, "foot": 304800.0, "feet": 304800.0,
    "ft": 304800.0, "yard": 914400.0, "yd": 914400.0, "kilometer": 1e9, "km": 1e9, "hectometer": 1e8,
    "hm": 1e8, "dekameter": 1e7, "decameter": 1e7, "dam": 1e7, "attometer": 1e-12, "am": 1e-12, "mil": 25.4,
    "thou": 25.4, "line": 25400 / 12, "li": 25400 / 12, "point": 25400 / 72, "pt": 25400 / 72,
}  # fmt: skip
"""Micrometres in a unit, by its names and its signs in OME-NGFF, OME-XML and ImageJ, in small letters."""
_CAPITALS = ("Mm", "Pm")
"""Signs of units that nobody means, and of others when they are written small: a megametre is no millimetre."""


def micrometres_in(unit: object) -> float | None:
    """Return how many micrometres a unit is; None for what is no unit of length (``pixel``, ``reference frame``)."""
    if not isinstance(unit, str):
        return None
    text = unit.strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("Â", "").replace("μ", "µ")
    if text in _CAPITALS:
        return None
    plain = text.lower().replace("metre", "meter").replace("ångström", "angstrom")
    return _METRES.get(plain, _METRES.get(plain.removesuffix("s")) if len(plain) > 3 else None)


def length(value: object, unit: object = "µm") -> float | None:
    """Return a length in micrometres; None when it is no number above zero, or the unit is none of length."""
    factor, number = micrometres_in(unit), as_number(value)
    return number * factor if factor is not None and number is not None and number > 0 else None


def as_number(value: object) -> float | None:
    """Return a finite number, also from text; None for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def doubts(spacing_um: Spacing | None, slices: int) -> str:
    """Return what should be said of a voxel size, as the end of a sentence that begins with its owner; "" if nothing.

    Parameters
    ----------
    slices : int
        How many slices a stack has: with one, no distance between slices is missed.
    """
    if spacing_um is None:
        return "does not say its voxel size, which stays unknown"
    said = []
    if slices > 1 and spacing_um[0] is None:
        said.append("does not say how far its slices lie apart (Z), which stays unknown")
    unlikely = [size for size in spacing_um[1:] if not LIKELY_UM[0] <= size <= LIKELY_UM[1]]
    if unlikely:
        said.append(f"says that a pixel measures {unlikely[0]:.4g} µm, which is unlikely for a microscope")
    return " and ".join(said)


def drawn(spacing_um: Sequence[float | None] | None) -> tuple[float, float, float]:
    """Return the voxel size that is drawn, (Z, Y, X): 1 where none is known."""
    z, y, x = (float(size or 1.0) for size in spacing_um or (1.0, 1.0, 1.0))
    return z, y, x
