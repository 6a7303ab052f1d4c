"""A settings model becomes command-line options, so that a default and its help text live in one place."""

import argparse
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

from napari_vstain.core.fields import FieldKind, FieldType, SettingsField, fields_of
from napari_vstain.core.settings import Settings

_METAVARS = {FieldKind.INTEGER: "N", FieldKind.NUMBER: "NUMBER", FieldKind.PATH: "PATH"}
_PREFIX = "setting:"


def add_options(
    parser: argparse.ArgumentParser,
    settings: type[Settings],
    positional: tuple[str, ...] = (),
    short: Mapping[str, str] | None = None,
    hidden: tuple[str, ...] = (),
) -> None:
    """Give `parser` an option for every field of `settings`.

    Several values follow one option, with spaces between them; a mapping of names is written ``a=b c=d``, where
    ``a`` alone means ``a=a``. Fields that take any other mapping have no option.

    Parameters
    ----------
    positional : tuple of str
        Fields that are given by place, in this order, instead of by name.
    short : mapping of field to option, optional
        Such as ``{"experiment": "-e"}``.
    hidden : tuple of str
        Fields that the command line leaves to ``-c`` and ``--set``.
    """
    for key in positional:
        parser.add_argument(_PREFIX + key, **_positional(key, fields_of(settings)[key]))
    for name, fields in _groups(settings, {*positional, *hidden}):
        group = parser.add_argument_group(name)
        for key, field in fields.items():
            flags = [flag for flag in ((short or {}).get(key), f"--{key.replace('_', '-')}") if flag]
            group.add_argument(*flags, dest=_PREFIX + key, **_option(field))
            if former := _former(settings, key):  # still taken, no longer shown
                hints = {**_option(field), "help": argparse.SUPPRESS}
                group.add_argument(f"--{former.replace('_', '-')}", dest=_PREFIX + key, **hints)


def chosen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was given on the command line, nested as the settings are; defaults are left out."""
    values: dict[str, Any] = {}
    for dest, value in vars(arguments).items():
        if dest.startswith(_PREFIX):
            *parents, key = dest.removeprefix(_PREFIX).split(".")
            inner = values
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[key] = value
    return values


def missing(settings: type[Settings], values: Mapping[str, Any]) -> list[str]:
    """Return the fields that have no default and no value yet."""
    return [key for key, field in fields_of(settings).items() if field.required and key not in values]


class _Names(argparse.Action):
    """``a=b c`` becomes ``{a: b, c: c}``."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        pairs = (value.partition("=") for value in values)
        setattr(namespace, self.dest, {name: new if equals else name for name, equals, new in pairs})


def _former(settings: type[Settings], key: str) -> str:
    """Return what an option was called before, or nothing."""
    top, dot, rest = key.partition(".")
    return next((former + dot + rest for former, name in settings.former_names.items() if name == top), "")


def _groups(settings: type[BaseModel], leave_out: set[str]) -> Iterator[tuple[str, dict[str, SettingsField]]]:
    """Yield ``title, {dotted key: field}``: first the plain fields, then each nested settings model."""
    fields = {key: field for key, field in fields_of(settings).items() if key not in leave_out}
    if plain := {key: field for key, field in fields.items() if _has_option(field.type)}:
        yield "settings", plain
    for key, field in fields.items():
        if field.type.model is not None:
            title = field.title.lower()
            for name, inner in _groups(field.type.model, set()):
                yield (
                    title if name == "settings" else f"{title}, {name}",
                    {f"{key}.{part}": item for part, item in inner.items()},
                )


def _positional(key: str, field: SettingsField) -> dict[str, Any]:
    options = _option(field)
    options["metavar"] = key.upper()
    options["nargs"] = "*" if options.get("nargs") == "+" else "?"
    return options


def _option(field: SettingsField) -> dict[str, Any]:
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field), "metavar": _metavar(field.type)}
    match field.type.kind:
        case FieldKind.YES_NO:
            del options["metavar"]
            options["action"] = argparse.BooleanOptionalAction
        case FieldKind.TUPLE:
            parts = field.type.parts
            options |= {"nargs": len(parts), "metavar": tuple(_metavar(part) for part in parts)}
        case FieldKind.LIST:
            options["nargs"] = "+"
        case FieldKind.MAPPING:
            options |= {"nargs": "+", "metavar": "NAME[=NEW]", "action": _Names}
        case FieldKind.CHOICE:
            choices = [_written(choice) for choice in field.type.choices]
            options |= {"choices": choices, "metavar": "{" + ",".join(choices) + "}"}
    return options


def _help(field: SettingsField) -> str:
    unit = f" {field.unit}" if field.unit else ""
    limits = ((field.type.low, "at least", "above"), (field.type.high, "at most", "below"))
    notes = [f"{reached if one.inclusive else not_} {one.value}{unit}" for one, reached, not_ in limits if one]
    if field.default not in (None, "", (), {}):
        notes.append(f"default: {_written(field.default)}{unit}")
    text = field.description or field.title
    return (f"{text} ({'; '.join(notes)})" if notes else text).replace("%", "%%")


def _written(value: Any) -> str:
    if isinstance(value, (tuple, list, frozenset)):
        return " ".join(_written(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value.value if isinstance(value, Enum) else value)


def _metavar(kind: FieldType) -> str:
    if kind.parts and kind.kind is not FieldKind.UNION:
        return _metavar(kind.parts[0])
    return _METAVARS.get(kind.kind, "TEXT")


def _has_option(kind: FieldType) -> bool:
    """Whether one option can hold it: no nested settings, and of mappings those of names only."""
    if kind.kind is FieldKind.MAPPING:
        return [part.kind for part in kind.parts] == [FieldKind.TEXT, FieldKind.TEXT]
    return kind.kind not in (FieldKind.MODEL, FieldKind.ANY)
