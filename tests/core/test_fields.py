"""What is told of a field is what its model allows, for every settings model of a stage."""

from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from napari_vstain.core.child import STAGES
from napari_vstain.core.fields import Bound, FieldKind, FieldLevel, fields_of
from napari_vstain.core.settings import Settings

MODELS = [getattr(import_module(f"napari_vstain.core.{room}"), name) for room, name, _ in STAGES.values()]
UNITS = {"px": "px", "um": "µm", "gb": "GB", "s": "s", "kg": "kg"}


class Fruit(StrEnum):
    APPLE = "apple"


class Inner(Settings):
    depth: int = 1


class Example(Settings):
    """A field of every kind."""

    given_by_user: str
    washed: bool = False
    count: int = Field(3, ge=1, lt=9)
    share: float | None = Field(None, gt=0, le=1, json_schema_extra={"unit": "kg", "level": "advanced"})
    place: Path | None = None
    size: Literal["small", "large"] = "small"
    fruit: Fruit = Fruit.APPLE
    inner: Inner = Inner()
    names: tuple[str, ...] = ()
    window: tuple[int, float] | None = None
    renamed: Mapping[str, Annotated[int, Field(ge=2)]] = Field({}, title="Renamed", description="How many.")
    seed: int | bool = 0
    extra: Any = None


FIELDS = fields_of(Example)
KINDS = {
    "given_by_user": FieldKind.TEXT, "washed": FieldKind.YES_NO, "count": FieldKind.INTEGER,
    "share": FieldKind.NUMBER, "place": FieldKind.PATH, "size": FieldKind.CHOICE, "fruit": FieldKind.CHOICE,
    "inner": FieldKind.MODEL, "names": FieldKind.LIST, "window": FieldKind.TUPLE, "renamed": FieldKind.MAPPING,
    "seed": FieldKind.UNION, "extra": FieldKind.ANY,
}  # fmt: skip


def test_every_kind_is_told_with_what_is_in_it():
    assert {name: field.type.kind for name, field in FIELDS.items()} == KINDS
    assert {name for name, field in FIELDS.items() if field.type.optional} == {"share", "place", "window"}
    assert FIELDS["size"].type.choices == ("small", "large")
    assert FIELDS["fruit"].type.choices == (Fruit.APPLE,)
    assert FIELDS["inner"].type.model is Inner
    assert [part.kind for part in FIELDS["window"].type.parts] == [FieldKind.INTEGER, FieldKind.NUMBER]
    assert [part.kind for part in FIELDS["seed"].type.parts] == [FieldKind.INTEGER, FieldKind.YES_NO]
    assert FIELDS["renamed"].type.parts[1].low == Bound(2, inclusive=True)
    assert (FIELDS["share"].unit, FIELDS["share"].level) == ("kg", FieldLevel.ADVANCED)
    assert (FIELDS["count"].unit, FIELDS["count"].level) == ("", FieldLevel.BASIC)


def test_what_is_required_has_no_default():
    assert [name for name, field in FIELDS.items() if field.required] == ["given_by_user"]
    assert FIELDS["count"].default == 3


@given(st.sampled_from(["count", "share"]), st.integers(-2, 12) | st.floats(-0.5, 1.5))
def test_a_number_is_allowed_just_where_the_bounds_say(name, number):
    if name == "count":
        number = round(number)
    low, high = FIELDS[name].type.low, FIELDS[name].type.high
    inside = low.value < number < high.value or any(one.inclusive and number == one.value for one in (low, high))
    try:
        Example.model_validate({"given_by_user": "", name: number})
    except ValidationError:
        assert not inside
    else:
        assert inside


def below(model):
    """Yield every field of a model and of the models in it."""
    for field in fields_of(model).values():
        yield field
        if field.type.model is not None:
            yield from below(field.type.model)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_of_a_stage_says_what_it_is(model):
    for field in below(model):
        assert field.description or field.title != field.name.replace("_", " ").capitalize(), field.name
        unit = UNITS.get(field.name.rpartition("_")[2], field.unit) if "_" in field.name else field.unit
        assert field.unit == unit, field.name


@pytest.mark.parametrize("model", MODELS)
def test_what_must_be_given_by_a_person_is_shown(model):
    hidden = [
        field.name for field in fields_of(model).values() if field.required and field.level is FieldLevel.ADVANCED
    ]
    assert not hidden
