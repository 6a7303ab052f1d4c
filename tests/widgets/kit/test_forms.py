"""A settings model becomes a form, and what the form says is what the model allows."""

from enum import Enum
from typing import Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import Field, field_validator

from napari_vstain.core.settings import Settings
from napari_vstain.widgets.kit.forms import SettingsForm
from napari_vstain.widgets.kit.style import WRONG


class Fruit(Enum):
    APPLE = "apple"
    PEAR = "pear"


class Basket(Settings):
    count: int = Field(3, ge=1, le=9, title="Count", description="How many.")
    weight_kg: float = Field(0.5, gt=0, le=20, title="Weight", json_schema_extra={"unit": "kg"})
    label: str = Field("mine", title="Label")
    fruit: Fruit = Field(Fruit.APPLE, title="Fruit")
    size: Literal["small", "large"] = "small"
    washed: bool = False
    room: int | None = Field(None, ge=10, le=20)
    share: float = Field(0.5, gt=0, lt=1)
    above: int = Field(5, gt=2, lt=8)

    @field_validator("label")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 5:
            raise ValueError("must be short")
        return value


@pytest.fixture
def form(qtbot):
    made = SettingsForm(Basket, list(Basket.model_fields))
    qtbot.addWidget(made)
    return made


def test_a_form_left_alone_changes_nothing(form):
    assert form.values() == {}
    assert form.problems == {}


@profile(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    values=st.builds(
        dict,
        count=st.integers(1, 9),
        weight_kg=st.integers(1, 200).map(lambda tenths: tenths / 10),
        label=st.text("abc", max_size=5),
        fruit=st.sampled_from(Fruit),
        size=st.sampled_from(["small", "large"]),
        washed=st.booleans(),
        room=st.none() | st.integers(10, 20),
    )
)
def test_what_is_shown_is_what_is_read_back(form, values):
    form.restore_defaults()
    form.set_values(values)
    assert Basket(**form.values()) == Basket(**values)


def test_a_value_that_breaks_its_rule_marks_its_editor_and_says_why(form):
    editor = form.editors["label"]
    editor.widget.setText("much too long")
    assert "must be short" in form.problems["label"]
    assert editor.widget.styleSheet() == WRONG
    assert "must be short" in editor.widget.toolTip()
    editor.widget.setText("ok")
    assert form.problems == {}
    assert editor.widget.styleSheet() == ""


def test_numbers_cannot_leave_their_bounds(form):
    spin = form.editors["count"].widget
    spin.setValue(100)
    assert spin.value() == 9
    assert form.editors["weight_kg"].widget.suffix() == " kg"


def test_an_optional_number_says_automatic_when_it_is_empty(form):
    room = form.editors["room"]
    assert room.value() is None
    assert room.widget.text() == "automatic"
    room.set_value(12)
    assert form.values() == {"room": 12}


def test_the_form_tells_when_it_changes(form, qtbot):
    with qtbot.waitSignal(form.changed):
        form.editors["washed"].widget.setChecked(True)
    assert form.values() == {"washed": True}


def test_a_bound_that_must_not_be_reached_is_not(form):
    for name, least, most in (("share", 0.0001, 0.9999), ("above", 3, 7)):
        spin = form.editors[name].widget
        for wanted, shown in ((-10, least), (10, most)):
            spin.setValue(wanted)
            assert spin.value() == pytest.approx(shown)
            assert not form.problems
