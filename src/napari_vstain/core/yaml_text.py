"""YAML text becomes plain values within bounds: no size, depth, expansion or number in it keeps anybody waiting."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from napari_vstain.core.errors import VstainError
from napari_vstain.core.files import plainly, reading

_MOST_CHARACTERS = 4_000_000
_MOST_NODES = 100_000
"""Values, names included, once every alias (`*name`) is written out."""
MOST_LEVELS = 64
_MOST_DIGITS = 400
_REMEDY = "correct it, or choose another file"


def read_yaml(path: Path, field: str, kind: type[VstainError]) -> Any:
    """Return what a YAML file holds; see `load_yaml`."""
    return load_yaml(read_text(path, field, kind), field, path, kind)


def read_text(path: Path, field: str, kind: type[VstainError]) -> str:
    """Return the text of a UTF-8 file, `_MOST_CHARACTERS` at most; devices and pipes, which may have no end, are none.

    Raises
    ------
    VstainError
        Of class `kind`.
    """
    with reading(field, path, "cannot be read", _REMEDY, kind=kind):
        if path.exists() and not path.is_dir() and not path.is_file():
            raise kind(field, path, "is no file", "choose a file")
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    if len(text) > _MOST_CHARACTERS:
        raise kind(field, path, f"is longer than {_MOST_CHARACTERS:,} characters", _REMEDY)
    return text


def load_yaml(
    text: str, field: str, value: object, kind: type[VstainError], *, remedy: str = _REMEDY, floats: bool = False
) -> Any:
    """Return what a YAML text holds: mappings, lists, text, numbers, True, False and None; no tag runs any code.

    Parameters
    ----------
    field, value, remedy
        Of the error, as `VstainError` takes them: what the text is, and its path.
    kind : type
        The class of the error.
    floats : bool
        Take ``1e-3`` for a number, as YAML 1.2 does. Files that we write count on YAML 1.1, where it is text.

    Raises
    ------
    VstainError
        Of class `kind`, when the text is no YAML, or is beyond a bound.
    """
    with reading(field, value, "is not YAML", remedy, kind=kind):
        try:
            if trouble := _beyond(yaml.parse(text, Loader=_Loader)):
                raise kind(field, value, trouble, remedy)
            return yaml.load(text, Loader=_FloatLoader if floats else _Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise kind(field, value, f"is not YAML (line {line}: {plainly(str(error.problem))})", remedy) from error


def _beyond(events: Iterable[yaml.Event]) -> str:
    """Return which bound a text passes, read no further than that; empty when it keeps all of them."""
    nodes = 0
    sizes: dict[str | None, int] = {}  # by anchor, of what is complete: an alias of what is open refers to itself
    open_: list[tuple[str | None, int]] = []
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"refers to itself or to nothing by *{event.anchor}"
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            sizes.pop(event.anchor, None)
            nodes += 1
            if isinstance(event, yaml.ScalarEvent):
                sizes[event.anchor] = 1
            else:
                open_.append((event.anchor, nodes - 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            sizes[anchor] = nodes - before
        if nodes > _MOST_NODES:
            return f"holds more than {_MOST_NODES:,} values, once its aliases are written out"
        if len(open_) > MOST_LEVELS:
            return f"is nested deeper than {MOST_LEVELS} levels"
    return ""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # ten times as fast where it is
    """The safe loader, with numbers that stay short, and dates that stay text."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """Return a number; Python takes ages for some that are very long, and cannot print them."""
        if len(node.value) > _MOST_DIGITS:
            raise ValueError(f"a number has {len(node.value)} digits")
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


class _FloatLoader(_Loader):
    """Takes ``1e-3`` for a number."""


_TIMESTAMP = "tag:yaml.org,2002:timestamp"
for _name in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _Loader.construct_number)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != _TIMESTAMP]
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}
_FloatLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)?\.?\d[\d_]*[eE][-+]?\d+$"), list("-+.0123456789")
)
