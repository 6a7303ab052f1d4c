"""A file pattern says where a path names its position, channel, time and slice: ``{position}_{channel}.tif``."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.errors import DatasetError, SettingsError

FIELDS = ("position", "channel", "row", "column", "t", "z")
_ANY = r"[^/]+"
_NUMBER = r"\d+"
_EXPRESSIONS = {
    "position": _ANY, "channel": _ANY, "row": r"[A-Za-z]+|\d+", "column": _NUMBER, "t": _NUMBER, "z": _NUMBER
}  # fmt: skip
_TOKEN = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<star>\*)|(?P<brace>[{}])")
_ENDING = re.compile(r"\.tiff?$", re.IGNORECASE)


@dataclass(frozen=True)
class Match:
    """What the pattern found in one path; a field that the pattern does not have is empty, or 0."""

    path: Path
    position: str = ""
    channel: str = ""
    row: str = ""
    column: str = ""
    t: int = 0
    z: int = 0


@dataclass(frozen=True)
class FilePattern:
    """A path below a folder in which ``{field}`` stands for a value, and ``*`` for anything.

    The fields are position, channel, row, column, t and z, each at most once; ``/`` separates folders. A field takes
    as many characters as it can, so that ``a_b_phase.tif`` under ``{position}_{channel}.tif`` is channel ``phase`` of
    position ``a_b``. The ending ``.tif`` also stands for ``.tiff``, in any case of letters.
    """

    text: str

    def __post_init__(self) -> None:
        fields = self.fields
        for field in fields:
            if field not in FIELDS:
                raise _wrong(self.text, f"{{{field}}} is none of {', '.join(FIELDS)}")
        if len(set(fields)) != len(fields):
            raise _wrong(self.text, "names a field twice")
        if any(token["brace"] for token in _TOKEN.finditer(self.text)):
            raise _wrong(self.text, "has a single { or }")
        if self.text.startswith("/") or ".." in self.text.split("/") or not self.text:
            raise _wrong(self.text, "must be a path below the source folder")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, as they come."""
        return tuple(token["field"] for token in _TOKEN.finditer(self.text) if token["field"] is not None)

    def find(self, folder: Path, channels: Iterable[str] = ()) -> list[Match]:
        """Return every file below `folder` that matches, in natural order.

        Parameters
        ----------
        folder : Path
            Where the pattern starts.
        channels : iterable of str
            If given, the only channels there may be: files of others are passed over.

        Raises
        ------
        DatasetError
            When the folder is not there, or no file matches.
        """
        if not folder.is_dir():
            raise DatasetError("source", folder, "is no folder", "choose the folder that holds the images")
        expression = self._expression(tuple(channels))
        there = sorted((path for path in _below(folder, self.text.count("/")) if path.is_file()), key=natural)
        found = [match for path in there if (match := _match(expression, path, folder)) is not None]
        if not found:
            names = ", ".join(path.relative_to(folder).as_posix() for path in there[:3]) or "no file at this depth"
            raise DatasetError("pattern", self.text, f"matches no file; the folder has {names}…", "correct the pattern")
        return found

    def _expression(self, channels: tuple[str, ...]) -> re.Pattern[str]:
        known = dict(_EXPRESSIONS)
        if channels:
            known["channel"] = "|".join(re.escape(name) for name in sorted(channels, key=len, reverse=True))
        text, ending = self.text, ""
        if _ENDING.search(text):
            text, ending = _ENDING.sub("", text), r"\.(?i:tiff?)"
        parts, last = [], 0
        for token in _TOKEN.finditer(text):
            parts.append(re.escape(text[last : token.start()]))
            parts.append("[^/]*" if token["star"] else f"(?P<{token['field']}>{known[token['field']]})")
            last = token.end()
        return re.compile("".join([*parts, re.escape(text[last:]), ending]))


def natural(path: Path | str) -> list[tuple[int, int, str]]:
    """Return a key that sorts ``img2`` before ``img10``."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts if part]


def _match(expression: re.Pattern[str], path: Path, folder: Path) -> Match | None:
    found = expression.fullmatch(path.relative_to(folder).as_posix())
    if found is None:
        return None
    values = found.groupdict()
    names = {field: values[field] for field in ("position", "channel", "row", "column") if field in values}
    return Match(path, t=int(values.get("t", 0)), z=int(values.get("z", 0)), **names)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    return folder.glob("/".join(["*"] * (depth + 1)))


def _wrong(text: str, rule: str) -> SettingsError:
    return SettingsError("pattern", text, rule, "write it like '{position}_{channel}.tif'")
