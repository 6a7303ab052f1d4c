"""``${section.key}`` stands for the value there, as OmegaConf writes it, within a bound on what it grows to.

OmegaConf resolves a reference wherever it stands, so that twenty lines that each name the one before twice take for
ever. Here every value is resolved once, what is produced is counted, and resolvers are left out but for
``${oc.env:NAME}``.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from napari_vstain.core.errors import SettingsError

_MOST_CHARACTERS = 4_000_000
MOST_VALUES = 100_000
MOST_STEPS = 32
"""References that lead to references."""
MOST_LETTERS = 1000
"""Of one reference."""
_Place = tuple[str | int, ...]
REFERENCE = re.compile(r"(?<!\\)(\\*)\$\{")
"""Where one begins, or would: an odd number of backslashes makes it text. It never starts within a run of them, since
that would take the square of its length."""
_BRACKET = re.compile(r"\$\{|\}")
_STEP = re.compile(r"([^.\[\]]+)|\[([^.\[\]]+)\]")


def resolve_references(values: Mapping[str, Any]) -> dict[str, Any]:
    r"""Return a copy of nested mappings and lists with every reference replaced by what it leads to.

    ``${a.b[0]}`` is looked up from the top, ``${.a}`` beside the reference, ``${..a}`` one section above. A text that
    is a reference and nothing else becomes the value itself; inside a text it is written out. ``\${`` is no reference.

    Raises
    ------
    SettingsError
        When one leads to nothing or to itself, is no reference, or all of them grow beyond every use.
    """
    resolved: dict[str, Any] = _Resolver(values).value((), 0)
    return resolved


class _Resolver:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._root = values
        self._known: dict[_Place, tuple[Any, int, int]] = {}
        self._values, self._characters = 0, 0

    def value(self, place: _Place, steps: int) -> Any:
        """Return the value at a place, everything in it resolved."""
        return self._resolved(self._raw(place), place, steps)

    def _resolved(self, raw: Any, place: _Place, steps: int) -> Any:
        self._count(place, 1, len(raw) if isinstance(raw, str) else 0)
        if isinstance(raw, Mapping):
            return {key: self._resolved(item, (*place, key), steps) for key, item in raw.items()}
        if isinstance(raw, list | tuple):
            return [self._resolved(item, (*place, index), steps) for index, item in enumerate(raw)]
        if not (isinstance(raw, str) and "${" in raw):
            return raw
        if place in self._known:
            made, values, characters = self._known[place]
            self._count(place, values, characters)  # whoever walks the result meets it once more
            return made
        values, characters = self._values, self._characters
        made = self._text(raw, place, steps)
        self._count(place, 1, len(made) if isinstance(made, str) else 0)
        self._known[place] = made, self._values - values, self._characters - characters
        return made

    def _text(self, raw: str, place: _Place, steps: int) -> Any:
        """Return a text with its references written out, or the value that its only one leads to."""
        parts: list[Any] = []
        end = 0
        while found := REFERENCE.search(raw, end):
            parts.append(raw[end : found.start()] + "\\" * (len(found[1]) // 2))
            if len(found[1]) % 2:
                parts.append("${")
                end = found.end()
            else:
                end = _closing(raw, found.end(), place)
                parts.append(self._referred(raw[found.end() : end - 1], place, steps))
                if len(parts) == 2 and not parts[0] and end == len(raw):
                    return parts[1]
        parts.append(raw[end:])
        for part in parts:
            if isinstance(part, dict | list):
                raise _wrong(place, raw, "puts a section into a text", "refer to a single value")
        return "".join(map(str, parts))

    def _referred(self, name: str, place: _Place, steps: int) -> Any:
        """Return what a reference, without its brackets, leads to."""
        if steps >= MOST_STEPS:
            raise _wrong(place, f"${{{name}}}", f"leads over more than {MOST_STEPS} others, or to itself", _CORRECT)
        if "${" in name:
            name = str(self._text(name, place, steps + 1))
        if name.startswith("oc.env:"):
            return _from_environment(name.removeprefix("oc.env:"), place)
        target = self._located(_parsed(name, place), place, name, steps + 1)
        if target == place[: len(target)]:
            raise _wrong(place, f"${{{name}}}", "refers to itself", _CORRECT)
        return self.value(target, steps + 1)

    def _located(self, target: _Place, place: _Place, name: str, steps: int) -> _Place:
        """Return where a name leads to, over references on its way; the last one is not followed."""
        here: _Place = ()
        for index, step in enumerate(target):
            raw = self._raw(here)
            if isinstance(raw, str) and raw.startswith("${"):
                if steps >= MOST_STEPS:
                    raise _wrong(place, f"${{{name}}}", "refers to itself", _CORRECT)
                inner = _closing(raw, 2, here)
                if inner == len(raw) and "${" not in raw[2:]:
                    there = self._located(_parsed(raw[2:-1], here), here, raw[2:-1], steps + 1)
                    return self._located((*there, *target[index:]), place, name, steps + 1)
            if not _has(raw, step):
                raise _wrong(place, f"${{{name}}}", "leads to nothing: there is no such key", _CORRECT)
            here = (*here, _key(raw, step))
        return here

    def _raw(self, place: _Place) -> Any:
        raw: Any = self._root
        for step in place:
            raw = raw[step]
        return raw

    def _count(self, place: _Place, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > MOST_VALUES or self._characters > _MOST_CHARACTERS:
            rule = "grows beyond every use, once its references are written out"
            raise _wrong(place, None, rule, "refer to fewer values")


_CORRECT = "correct the reference"


def _closing(text: str, start: int, place: _Place) -> int:
    """Return the end of a reference that was opened before `start`."""
    depth = 1
    for found in _BRACKET.finditer(text, start, start + MOST_LETTERS):
        depth += 1 if found[0] == "${" else -1
        if not depth:
            return found.end()
    rule = f"is no reference: its bracket is not closed within {MOST_LETTERS} letters"
    raise _wrong(place, text, rule, "write ${section.key}, or \\${ for text")


def _parsed(name: str, place: _Place) -> _Place:
    """Return the place that a name is of, seen from another place."""
    inner = name.strip().lstrip(".")
    dots = len(name.strip()) - len(inner)
    steps = tuple(first or second for first, second in _STEP.findall(inner))
    if not re.fullmatch(r"[^\s.\[\]:]+(\.[^\s.\[\]:]+|\[[^\s.\[\]:]+\])*", inner) or dots > len(place):
        raise _wrong(place, f"${{{name}}}", "is no reference", "write ${section.key}, or \\${ for text")
    return (*place[: len(place) - dots], *steps) if dots else steps


def _has(raw: Any, step: str | int) -> bool:
    if isinstance(raw, Mapping):
        return _key(raw, step) in raw
    return isinstance(raw, list | tuple) and str(step).isdecimal() and int(step) < len(raw)


def _key(raw: Any, step: str | int) -> str | int:
    """Return a step of a name as the key that its mapping or list knows: numbers are written like text."""
    is_number = isinstance(step, str) and step.isdecimal() and len(step) < 10
    return int(step) if is_number and not (isinstance(raw, Mapping) and step in raw) else step


def _from_environment(name: str, place: _Place) -> str:
    variable, comma, default = name.partition(",")
    found = os.environ.get(variable.strip(), default.strip() if comma else None)
    if found is None:
        raise _wrong(place, f"${{oc.env:{name}}}", "names no variable of the environment", "set it, or give a default")
    return found


def _wrong(place: _Place, value: str | None, rule: str, remedy: str) -> SettingsError:
    shown = value if value is None or len(value) <= 100 else f"{value[:100]}…"
    return SettingsError(".".join(map(str, place)) or "settings", shown, rule, remedy)
