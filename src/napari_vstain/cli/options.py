"""A settings model becomes command-line options, so that a default and its help text live in one place."""

import argparse
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from napari_vstain.core.settings import Settings

_BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
_METAVARS: dict[Any, str] = {int: "N", float: "NUMBER", Path: "PATH"}
_NAMES = dict[str, str]
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
        parser.add_argument(_PREFIX + key, **_positional(key, settings.model_fields[key]))
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
    return [key for key, field in settings.model_fields.items() if field.is_required() and key not in values]


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


def _groups(settings: type[Settings], leave_out: set[str]) -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """Yield ``title, {dotted key: field}``: first the plain fields, then each nested settings model."""
    fields = {key: field for key, field in settings.model_fields.items() if key not in leave_out}
    plain = {key: field for key, field in fields.items() if _model(field) is None and not _is_mapping(field)}
    if plain:
        yield "settings", plain
    for key, field in fields.items():
        model = _model(field)
        if model is not None:
            title = (field.title or key).lower()
            for name, inner in _groups(model, set()):
                yield (
                    title if name == "settings" else f"{title}, {name}",
                    {f"{key}.{part}": item for part, item in inner.items()},
                )


def _positional(key: str, field: FieldInfo) -> dict[str, Any]:
    options = _option(field)
    options["metavar"] = key.upper()
    options["nargs"] = "*" if options.get("nargs") == "+" else "?"
    return options


def _option(field: FieldInfo) -> dict[str, Any]:
    kind = _without_none(field.annotation)
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field)}
    if kind is bool:
        return {**options, "action": argparse.BooleanOptionalAction}
    options["metavar"] = _metavar(kind)
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        options |= {"nargs": len(get_args(kind)), "metavar": tuple(_metavar(item) for item in get_args(kind))}
    elif get_origin(kind) in (tuple, list, frozenset):
        options["nargs"] = "+"
    elif kind == _NAMES:
        options |= {"nargs": "+", "metavar": "NAME[=NEW]", "action": _Names}
    elif (choices := _choices(kind)) is not None:
        options |= {"choices": choices, "metavar": "{" + ",".join(choices) + "}"}
    return options


def _help(field: FieldInfo) -> str:
    text = field.description or field.title or ""
    notes = [_BOUNDS[name].format(bound) for name, bound in _bounds(field)]
    default = field.get_default(call_default_factory=True)
    if default is not PydanticUndefined and default not in (None, "", (), {}):
        notes.append(f"default: {_written(default)}")
    return (f"{text} ({'; '.join(notes)})" if notes else text).replace("%", "%%")


def _bounds(field: FieldInfo) -> list[tuple[str, Any]]:
    return [(name, getattr(item, name)) for item in field.metadata for name in _BOUNDS if hasattr(item, name)]


def _written(value: Any) -> str:
    if isinstance(value, (tuple, list, frozenset)):
        return " ".join(_written(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value.value if isinstance(value, Enum) else value)


def _metavar(kind: Any) -> str:
    inner = [item for item in get_args(kind) if item is not Ellipsis]
    return _METAVARS.get(kind) or (_metavar(_without_none(inner[0])) if inner else "TEXT")


def _choices(kind: Any) -> list[str] | None:
    if get_origin(kind) is Literal:
        return [str(item) for item in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(item.value) for item in kind]
    return None


def _model(field: FieldInfo) -> type[Settings] | None:
    kind = _without_none(field.annotation)
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _is_mapping(field: FieldInfo) -> bool:
    kind = _without_none(field.annotation)
    if kind == _NAMES:
        return False
    return kind is Any or (isinstance(origin := get_origin(kind), type) and issubclass(origin, Mapping))


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [item for item in get_args(kind) if item is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind
