"""Settings are frozen values that a YAML file, a form and the command line share."""

from collections.abc import Iterable, Mapping
from functools import reduce
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.files import write_text
from napari_vstain.core.overrides import merged, parse_overrides
from napari_vstain.core.references import REFERENCE, resolve_references
from napari_vstain.core.yaml_text import load_yaml, read_yaml

AUXILIARY = "_aux"
"""A section at any level that holds values to refer to, and is dropped before validation."""
PRESET = "preset"
"""A top-level key that names a packaged file whose values this one overrides."""


class Settings(BaseModel):
    """A frozen value: unknown keys are errors, and every field says its unit and bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    former_names: ClassVar[Mapping[str, str]] = {}
    """What fields were called in files and commands of before, and their names now: both are taken."""

    @model_validator(mode="before")
    @classmethod
    def _by_present_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for former, name in cls.former_names.items():
            if former in values:
                old, new = values[former], values.get(name, {})
                if merged(old, new) != merged(new, old) and name in values:  # whichever won, the other would be lost
                    raise ValueError(f"{former} is the former name of {name}, and they disagree: rename it in the file")
                values = {key: value for key, value in values.items() if key != former}
                values[name] = merged(old, new) if name in values else old
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that a mapping holds.

        Raises
        ------
        SettingsError
            Naming the first field that breaks its rule.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _as_error(error.errors()[0], cls) from error

    @classmethod
    def load(cls, path: Path | str, overrides: Iterable[str] = ()) -> Self:
        """Return the settings in a YAML file; `overrides` are ``key.sub=value``."""
        return cls.parse(load_config(path, overrides))

    def save(self, path: Path | str) -> None:
        """Write the settings as YAML, atomically."""
        save_config(self.model_dump(mode="json"), path)


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return a YAML file with its preset and interpolations resolved and `_aux` dropped."""
    return resolve(_read_mapping(Path(path)), overrides)


def resolve(values: Mapping[str, Any], overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return `values` over their preset, overridden, interpolated (`${a.b}`), without `_aux`.

    Raises
    ------
    SettingsError
        For an unknown preset, an override that is none, or a reference that leads to nothing.
    """
    layers = [*_preset(values), {key: value for key, value in values.items() if key != PRESET}]
    whole: dict[str, Any] = reduce(merged, [*layers, parse_overrides(overrides)], {})
    return dict(_without_auxiliary(resolve_references(whole)))


def save_config(values: Mapping[str, Any], path: Path | str, header: str = "") -> None:
    """Write a mapping as YAML, atomically, under a `header` of comment lines."""
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    text = yaml.safe_dump(_escaped(dict(values)), sort_keys=False, allow_unicode=False)
    write_text(Path(path), comment + text)


def preset_names() -> list[str]:
    """Return the presets that come with the package."""
    return sorted(entry.name.removesuffix(".yml") for entry in _presets().iterdir() if entry.name.endswith(".yml"))


def _presets() -> Any:
    return resources.files("napari_vstain.core") / "presets"


def _preset(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    name = values.get(PRESET)
    if name is None:
        return []
    if name not in preset_names():
        raise SettingsError(PRESET, name, "no preset of this name", f"choose one of {', '.join(preset_names())}")
    return [load_yaml((_presets() / f"{name}.yml").read_text(encoding="utf-8"), PRESET, name, SettingsError)]


def _read_mapping(path: Path) -> dict[str, Any]:
    values = read_yaml(path, "settings file", SettingsError)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError("settings file", path, "must hold `name: value` lines", "correct it")
    return values


def _without_auxiliary(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_auxiliary(item) for key, item in value.items() if key != AUXILIARY}
    if isinstance(value, list):
        return [_without_auxiliary(item) for item in value]
    return value


def _escaped(value: Any) -> Any:
    """Return `value` with every literal ``${`` written so that it is not taken for a reference."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return REFERENCE.sub(r"\1\1\\${", value) if isinstance(value, str) else value


def problems_of(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, SettingsError]:
    """Return what is wrong with values of a model, by field: the first of each."""
    found: dict[str, SettingsError] = {}
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        for problem in error.errors():
            found.setdefault(str(problem["loc"][0]) if problem["loc"] else "", _as_error(problem, model))
    return found


def _as_error(problem: Mapping[str, Any], model: type[BaseModel]) -> SettingsError:
    field = ".".join(str(part) for part in problem["loc"]) or model.__name__
    if problem["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return SettingsError(field, None, f"is no setting of {model.__name__}", f"use one of {known}")
    if problem["type"] == "missing":
        return SettingsError(field, None, f"is needed by {model.__name__}", "give it a value")
    rule = problem["msg"].removeprefix("Value error, ")
    return SettingsError(field, problem["input"], rule[:1].lower() + rule[1:], "correct the value")
