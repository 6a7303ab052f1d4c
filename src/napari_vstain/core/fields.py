"""What is known of a settings field is read here once, for the command line and for the docks."""

import types
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class FieldLevel(Enum):
    """Who a field is for."""

    BASIC = "basic"
    """Everybody: it is shown."""
    ADVANCED = "advanced"
    """Some: it is folded away until it is wanted."""
    HIDDEN = "hidden"
    """A file or a program; no form shows it."""


class FieldKind(Enum):
    """What a value is made of, as far as an editor has to know."""

    YES_NO = "yes or no"
    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    PATH = "path"
    CHOICE = "choice"
    MODEL = "settings"
    LIST = "list"
    """Any number of values of one type."""
    TUPLE = "tuple"
    """So many values, each of its own type."""
    MAPPING = "mapping"
    UNION = "union"
    """A value of one of several types."""
    ANY = "anything"


@dataclass(frozen=True)
class Bound:
    """A limit of a number, which the number may reach if it is `inclusive`."""

    value: float
    inclusive: bool


@dataclass(frozen=True)
class FieldType:
    """The type of a value, and of the values in it."""

    kind: FieldKind
    optional: bool = False
    """Whether None is a value too."""
    choices: tuple[Any, ...] = ()
    parts: tuple["FieldType", ...] = ()
    """Of a list its one type, of a tuple each, of a mapping key and value, of a union each alternative."""
    model: type[BaseModel] | None = None
    low: Bound | None = None
    high: Bound | None = None


@dataclass(frozen=True)
class SettingsField:
    """One field of a settings model."""

    name: str
    title: str
    description: str
    type: FieldType
    required: bool
    default: Any
    """None if the field is required."""
    unit: str
    """Empty when the value has none."""
    level: FieldLevel


def fields_of(model: type[BaseModel]) -> dict[str, SettingsField]:
    """Return the fields of a model by name, in its order; those of a nested model are had from its own `model`."""
    return {name: _field(name, info) for name, info in model.model_fields.items()}


def _field(name: str, info: FieldInfo) -> SettingsField:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return SettingsField(
        name=name,
        title=info.title or name.replace("_", " ").capitalize(),
        description=info.description or "",
        type=_type(info.annotation, info.metadata),
        required=info.is_required(),
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        unit=str(extra.get("unit", "")),
        level=FieldLevel(extra.get("level", FieldLevel.BASIC.value)),
    )


def _type(annotation: Any, rules: Sequence[Any] = ()) -> FieldType:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        own = [rule for one in arguments[1:] for rule in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return _type(arguments[0], [*rules, *own])
    if origin in (Union, types.UnionType):
        return _union(arguments, rules)
    if origin is Literal:
        return FieldType(FieldKind.CHOICE, choices=arguments)
    if origin is tuple and Ellipsis not in arguments:
        return FieldType(FieldKind.TUPLE, parts=tuple(_type(part) for part in arguments))
    if isinstance(origin, type):
        parts = tuple(_type(part) for part in arguments if part is not Ellipsis)
        if issubclass(origin, Mapping):
            return FieldType(FieldKind.MAPPING, parts=parts)
        if issubclass(origin, Sequence | Set):
            return FieldType(FieldKind.LIST, parts=parts)
    if isinstance(annotation, type):
        return _plain_type(annotation, rules)
    return FieldType(FieldKind.ANY)


def _plain_type(kind: type, rules: Sequence[Any]) -> FieldType:
    if issubclass(kind, BaseModel):
        return FieldType(FieldKind.MODEL, model=kind)
    if issubclass(kind, Enum):
        return FieldType(FieldKind.CHOICE, choices=tuple(kind))
    if kind in (int, float):
        low, high = _bound(rules, "ge", "gt"), _bound(rules, "le", "lt")
        return FieldType(FieldKind.INTEGER if kind is int else FieldKind.NUMBER, low=low, high=high)
    kinds = {bool: FieldKind.YES_NO, str: FieldKind.TEXT, Path: FieldKind.PATH}
    return FieldType(kinds.get(kind, FieldKind.ANY))


def _union(alternatives: tuple[Any, ...], rules: Sequence[Any]) -> FieldType:
    """Return the one type beside None with None allowed, else a union."""
    found = [_type(one, rules) for one in alternatives if one is not type(None)]
    optional = len(found) < len(alternatives)
    if len(found) > 1:
        return FieldType(FieldKind.UNION, optional, parts=tuple(found))
    (only,) = found
    return FieldType(only.kind, optional, only.choices, only.parts, only.model, only.low, only.high)


def _bound(rules: Sequence[Any], inclusive: str, exclusive: str) -> Bound | None:
    for rule in rules:
        for name in (inclusive, exclusive):
            if (value := getattr(rule, name, None)) is not None:
                return Bound(value, name == inclusive)
    return None
