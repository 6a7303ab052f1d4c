"""What a stage says crosses between processes as lines of JSON, written and read by this file alone."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, TypeAdapter

from napari_vstain.core import errors
from napari_vstain.core.errors import VstainError
from napari_vstain.core.progress import Report

T = TypeVar("T")


@dataclass(frozen=True)
class WireRecord:
    """A dataclass or named tuple as it crosses: the name of its class, and its values by field name."""

    name: str
    values: Mapping[str, Any]
    """Plain ones: paths are text, tuples lists, records mappings. Fields that no JSON holds, as arrays, are absent."""

    @classmethod
    def of(cls, item: object) -> "WireRecord | None":
        """Return an item as a record; None when it has no named fields."""
        named = _named_fields(item)
        if named is None:
            return None
        plain = {name: _plain(value) for name, value in named.items()}
        return cls(type(item).__name__, {name: value for name, value in plain.items() if value is not _NO_JSON})

    def to(self, kind: type[T]) -> T:
        """Return the record as its class, with each value in the type of its field.

        Raises
        ------
        TypeError
            When a field without a default did not cross.
        """
        types = get_type_hints(kind)
        return kind(**{name: TypeAdapter(types[name]).validate_python(value) for name, value in self.values.items()})


@dataclass(frozen=True)
class Produced:
    """Something that the stage handed out on its way."""

    item: WireRecord


@dataclass(frozen=True)
class Returned:
    """What the stage returned, or had kept when it was stopped."""

    result: WireRecord


@dataclass(frozen=True)
class Note:
    """A sentence to the user."""

    message: str


@dataclass(frozen=True)
class Made:
    """What a verb of the command line made, by the name that a person reads."""

    paths: Mapping[str, str]


@dataclass(frozen=True)
class Tabled:
    """A small table of results, for a person."""

    title: str
    columns: list[str]
    rows: list[list[str]]


Event = Report | Produced | Returned | Note | Made | Tabled | VstainError
_NAMES: Mapping[type, str] = {Report: "report", Note: "note", Made: "result", Tabled: "table"}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_NO_JSON = object()


def encode(event: Event) -> str:
    """Return an event as one line of JSON, without the line's end.

    Numbers that are not finite are written as Python reads them back: ``NaN``, ``Infinity``.
    """
    return json.dumps(_written(event))


def decode(line: str) -> Event | None:
    """Return the event that a line holds; None for a line that somebody else printed.

    An error comes back in its own class, if that is one of ours; its value is text.
    """
    try:
        parts = json.loads(line)
        return _read(parts) if isinstance(parts, dict) else None
    except (ValueError, TypeError, KeyError):  # no JSON, or not ours
        return None


def _written(event: Event) -> dict[str, Any]:
    match event:
        case VstainError():
            value = None if event.value is None else str(event.value)
            parts = {"field": event.field, "value": value, "rule": event.rule, "remedy": event.remedy}
            return {"event": "error", "type": type(event).__name__, **parts}
        case Produced(record):
            return {"event": "produced", "type": record.name, "values": dict(record.values)}
        case Returned(record):
            return {"event": "returned", "type": record.name, "values": dict(record.values)}
        case _:
            return {"event": _NAMES[type(event)], **asdict(event)}


def _read(parts: dict[str, Any]) -> Event:
    values = {name: value for name, value in parts.items() if name != "event"}
    match parts["event"]:
        case "error":
            kind = getattr(errors, values["type"], VstainError)
            ours = isinstance(kind, type) and issubclass(kind, VstainError)
            return (kind if ours else VstainError)(*(values[part] for part in ("field", "value", "rule", "remedy")))
        case "produced":
            return Produced(WireRecord(values["type"], values["values"]))
        case "returned":
            return Returned(WireRecord(values["type"], values["values"]))
        case name:
            event: Event = _KINDS[name](**values)
            return event


def _named_fields(item: object) -> dict[str, Any] | None:
    if is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in fields(item)}
    named: dict[str, Any] | None = item._asdict() if isinstance(item, tuple) and hasattr(item, "_asdict") else None
    return named


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; `_NO_JSON` when a part of it cannot be held: half of it would mislead."""
    match value:
        case None | bool() | str():
            return value
        case Enum():
            return _plain(value.value)
        case Integral():  # numpy's numbers among them
            return int(value)
        case Real():
            return float(value)
        case Path():
            return str(value)
        case BaseModel():
            return value.model_dump(mode="json")
    named = _named_fields(value)
    if named is not None or isinstance(value, Mapping):
        inner = {str(name): _plain(part) for name, part in (value if named is None else named).items()}
        return _NO_JSON if _NO_JSON in inner.values() else inner
    if isinstance(value, (tuple, list, set, frozenset)):
        items = [_plain(part) for part in value]
        return _NO_JSON if any(part is _NO_JSON for part in items) else items
    return _NO_JSON
