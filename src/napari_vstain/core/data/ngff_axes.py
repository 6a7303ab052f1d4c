"""The axes of an OME-NGFF image, named by tczyx: by their names, else by what they are said to be."""

from collections.abc import Mapping, Sequence
from typing import Any

from napari_vstain.core.errors import DatasetError

AXES = "tczyx"
_BY_WORD = {"time": "t", "channel": "c", "channels": "c"}
_SPACE = "zyx"


def axes_of(scales: Mapping[str, Any], where: object) -> str:
    """Return the stored axes of an image in their order, a subset of ``tczyx``.

    From version 0.4 on an axis' type says what it is, and its name is free. One of another type, such as the angle of
    a light sheet, takes the place of the channels, as it does in the standard.

    Raises
    ------
    DatasetError
        When one cannot be told.
    """
    written = scales.get("axes", list(AXES))  # versions 0.1 and 0.2 have none: always TCZYX
    if not isinstance(written, list) or not 2 <= len(written) <= len(AXES):
        raise _unclear(where, "lists no two to five axes in its metadata")
    names = [_text(axis.get("name") if isinstance(axis, Mapping) else axis) for axis in written]
    given = [name for name in names if name]
    if len(set(given)) != len(given):
        raise _unclear(where, f"names an axis twice ({', '.join(given)})")
    if {"y", "x"} <= set(names) <= set(AXES):
        return "".join(names)
    kinds = [_text(axis.get("type")) if isinstance(axis, Mapping) else "" for axis in written]
    letters = [_letter(name, kind) for name, kind in zip(names, kinds, strict=True)]
    space = [index for index, letter in enumerate(letters) if letter == "s"]
    if not 2 <= len(space) <= len(_SPACE):
        raise _unclear(where, f"has the axes {', '.join(names)}, of which {len(space)} are of space, not two or three")
    for index, letter in zip(space, _of_space([names[index] for index in space]), strict=True):
        letters[index] = letter
    for letter in "tc":
        doubled = [names[index] for index, one in enumerate(letters) if one == letter]
        if len(doubled) > 1:
            raise _unclear(where, f"has the axes {' and '.join(doubled)}, of which only one can be read as {letter}")
    return "".join(letters)


def _letter(name: str, kind: str) -> str:
    """Return t, c, or s for any axis of space."""
    if kind in ("time", "channel", "space"):
        return kind[0]
    if name in _SPACE and name:
        return "s"
    return name if name in ("t", "c") else _BY_WORD.get(name, "c")


def _of_space(names: Sequence[str]) -> str:
    """Return the letters of axes of space: by their names as far as these are known, the others by their order."""
    possible = _SPACE[-len(names) :]
    if not set(names) & set(_SPACE) <= set(possible):
        return possible
    left = iter(letter for letter in possible if letter not in names)
    return "".join(name if name in possible and name else next(left) for name in names)


def _text(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""


def _unclear(where: object, rule: str) -> DatasetError:
    return DatasetError("image", where, rule, "correct the axes in its metadata")
