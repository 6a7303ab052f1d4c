"""A file pattern says where a path names its position, channel, time and slice: ``{position}_{channel}.tif``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_vstain.core.data.layouts.layout import PlaneRef
from napari_vstain.core.data.readers.registry import suffixes_like
from napari_vstain.core.errors import DatasetError, SettingsError
from napari_vstain.core.files import reading

FIELDS = ("position", "channel", "row", "column", "t", "z")
_ANY = r"[^/]+"
_NUMBER = r"\d+"
_EXPRESSIONS = {
    "position": _ANY, "channel": _ANY, "row": r"[A-Za-z]+|\d+", "column": _NUMBER, "t": _NUMBER, "z": _NUMBER
}  # fmt: skip
_TOKEN = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<star>\*)|(?P<brace>[{}])")
_HIDDEN = (".", "@eaDir", "@SynoResource", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "~$")
"""How the names begin that systems and disk stations give to what they add by themselves."""


@dataclass(frozen=True)
class FilePattern:
    """A path below a folder in which ``{field}`` stands for a value, and ``*`` for anything.

    The fields are position, channel, row, column, t and z, each at most once; ``/`` separates folders. A field takes
    as many characters as it can, so that ``a_b_phase.tif`` under ``{position}_{channel}.tif`` is channel ``phase`` of
    position ``a_b``. The ending ``.tif`` also stands for ``.tiff``, in any case of letters, and so does that of every
    format that has several.
    """

    text: str
    channels: tuple[str, ...] = ()
    """If given, the only channels there may be: files of others are passed over."""

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

    def planes(self, source: Path) -> Iterator[PlaneRef]:
        """Yield what each file below `source` that matches holds, in natural order of their paths.

        What systems hide or add by themselves is passed over: ``._a.tif`` of a Mac, ``@eaDir`` of a disk station.

        Raises
        ------
        DatasetError
            When the folder is not there, or no file matches.
        """
        there = self._listed(source)
        expression = self._expression(self.channels)
        found = [ref for path in there if (ref := _match(expression, path, source)) is not None]
        if not found:
            names = ", ".join(as_text(path.relative_to(source).as_posix()) for path in there[:3])
            rule = f"matches no file; the folder has {names or 'no file at this depth'}…"
            raise DatasetError("pattern", self.text, rule, "correct the pattern")
        yield from found

    def others(self, source: Path) -> list[str]:
        """Return files as deep below `source` as the pattern, with its ending, that do not match it for any channel.

        The folder is listed anew: next to opening every file that matches, that takes no time.
        """
        any_channel, alike = self._expression(()), suffixes_like(self.text)
        names = [path.relative_to(source).as_posix() for path in self._listed(source)]
        others = [name for name in names if not any_channel.fullmatch(name)]
        return [as_text(name) for name in others if not alike or name.lower().endswith(alike)]

    def _listed(self, folder: Path) -> list[Path]:
        """Return every file as deep below a folder as the pattern, in natural order, but for hidden ones."""
        if not folder.is_dir():
            raise DatasetError("source", folder, "is no folder", "choose the folder that holds the images")
        with reading("source", folder, "cannot be listed", "check the folder"):
            below = folder.glob("/".join(["*"] * (self.text.count("/") + 1)))
            there = [path for path in below if path.is_file()]
        return sorted((path for path in there if not self._is_hidden(path.relative_to(folder))), key=natural)

    def _is_hidden(self, path: Path) -> bool:
        """Return True for what no pattern means, unless this one writes it out."""
        parts = zip(path.parts, self.text.split("/"), strict=True)
        return any(part.startswith(_HIDDEN) and not meant.startswith(_HIDDEN) for part, meant in parts)

    def _expression(self, channels: tuple[str, ...]) -> re.Pattern[str]:
        known = dict(_EXPRESSIONS)
        if channels:
            known["channel"] = "|".join(re.escape(name) for name in sorted(channels, key=len, reverse=True))
        text, ending = self.text, ""
        if alike := suffixes_like(text):
            text, ending = text.removesuffix(Path(text).suffix), f"(?i:{'|'.join(map(re.escape, alike))})"
        parts, last = [], 0
        for token in _TOKEN.finditer(text):
            parts.append(re.escape(text[last : token.start()]))
            parts.append("[^/]*" if token["star"] else f"(?P<{token['field']}>{known[token['field']]})")
            last = token.end()
        return re.compile("".join([*parts, re.escape(text[last:]), ending]))


def natural(path: Path | str) -> list[tuple[int, int, str]]:
    """Return a key that sorts ``img2`` before ``img10``."""
    # Two lines in place of natsort, which nothing else here would need.
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts if part]


def as_text(name: str) -> str:
    """Return a file's name as text that can be written: what is no UTF-8 in it becomes a question mark in a diamond."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _match(expression: re.Pattern[str], path: Path, folder: Path) -> PlaneRef | None:
    found = expression.fullmatch(path.relative_to(folder).as_posix())
    if found is None:
        return None
    values = found.groupdict()
    names = {field: as_text(values[field]) for field in ("position", "channel", "row", "column") if field in values}
    return PlaneRef(path, t=int(values.get("t", 0)), z=int(values.get("z", 0)), **names)


def _wrong(text: str, rule: str) -> SettingsError:
    return SettingsError("pattern", text, rule, "write it like '{position}_{channel}.tif'")
