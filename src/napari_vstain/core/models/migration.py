"""What an earlier version wrote of a model is brought to today's form before it is read, one version after the other.

A step knows both of its versions by itself and imports no type of today's, so that it does the same for ever.
"""

from collections.abc import Callable, Mapping
from sys import float_info
from typing import Any, Final

from napari_vstain.core.errors import ModelError

MODEL_SCHEMA: Final = 2
"""Of what a ModelSpec is written as. It grows, by a step, with each change of form that no default covers."""

_FACTS_2: Final[Mapping[str, type]] = {
    "experiment": str, "run": str, "config": str, "dataset": str, "positions": dict, "target_normalization": str,
    "patches": dict, "batches_per_epoch": int, "epochs": int, "steps": int, "metrics": dict, "made_by": str,
    "reach": str,
}  # fmt: skip
"""What version 2 knows of a training."""
_PARTS_2: Final = ("train", "validate", "test")


def migrate(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a model says of itself, as any version wrote it, as this version writes it.

    What names no version is taken for this one's, and one that is no number above 0 is left to be refused.

    Raises
    ------
    ModelError
        When it was written by a version that came later than this one.
    """
    version = raw.get("schema_version", MODEL_SCHEMA)
    if type(version) is not int or version < 1:
        return dict(raw)
    if version > MODEL_SCHEMA:
        rule = f"was written by a newer napari-vstain: its schema version is {version}, this one reads up to"
        raise ModelError("model", None, f"{rule} {MODEL_SCHEMA}", "update napari-vstain")
    migrated = dict(raw)
    for step in _STEPS[version - 1 :]:
        migrated = step(migrated)
    return migrated


def _from_1(raw: dict[str, Any]) -> dict[str, Any]:
    """Return what version 1 wrote in the form of version 2.

    In version 1 `training` and `novelty` were free mappings: whatever stood in them opened. None of it changes a
    prediction, so what version 2 cannot hold is left out rather than refused.
    """
    made = {**raw, "schema_version": 2}
    if isinstance(said := raw.get("training"), Mapping):
        training = {name: said[name] for name, kind in _FACTS_2.items() if type(said.get(name)) is kind}
        if "positions" in training:
            training["positions"] = {part: _texts(training["positions"].get(part)) for part in _PARTS_2}
        if "metrics" in training:
            training["metrics"] = {name: _number(value) for name, value in training["metrics"].items()}
        made["training"] = training
    if isinstance(novelty := raw.get("novelty"), Mapping) and type(novelty.get("version")) is not int:
        made["novelty"] = {}
    return made


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) and abs(value) <= float_info.max else None


_STEPS: Final[tuple[Callable[[dict[str, Any]], dict[str, Any]], ...]] = (_from_1,)
"""The first brings version 1 to version 2."""
