"""A settings model becomes a form, and what the form says is what the model allows."""

from enum import Enum
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import Field, field_validator

import napari_vstain.core
from napari_vstain.core.fields import FieldLevel, fields_of
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
    rate: float = Field(3e-4, gt=0)
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
    made = SettingsForm(Basket)
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


class Lid(Settings):
    colour: str = Field("red", title="Colour")
    tight: bool | None = Field(None, title="Tight")


class Chest(Settings):
    """Every kind of field that settings have."""

    sizes: tuple[int, ...] = Field((16, 32), min_length=1, title="Sizes")
    names: dict[str, str] = Field({}, title="Names")
    corner: tuple[float, float] | None = Field(None, title="Corner")
    seed: int | bool = Field(0, title="Seed")
    parts: tuple[Literal["top", "side"], ...] = Field(("top",), title="Parts")
    where: Path | None = Field(None, title="Where")
    lid: Lid = Field(Lid(), title="Lid")
    spare: Lid | None = Field(None, title="Spare lid", json_schema_extra={"level": "advanced"})
    lids: tuple[Lid, ...] = Field((), title="Lids", json_schema_extra={"level": "advanced"})
    secret: str = Field("", json_schema_extra={"level": "hidden"})


LIDS = st.builds(Lid, colour=st.text("abc: ,'[]{}", min_size=1).map(str.strip), tight=st.none() | st.booleans())
WORDS = st.text("ab :,[]{}'\"#-é", min_size=1, max_size=8)


@profile(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    values=st.builds(
        dict,
        sizes=st.lists(st.integers(1, 99), min_size=1).map(tuple),
        names=st.dictionaries(WORDS, WORDS),
        corner=st.none() | st.tuples(st.floats(0, 10), st.floats(0, 10)),
        seed=st.integers(0, 9) | st.booleans(),
        parts=st.sampled_from([(), ("top",), ("side",), ("top", "side")]),
        where=st.none() | st.just(Path("a folder/b: c.zarr")),
        lid=LIDS,
        spare=st.none() | LIDS,
        lids=st.lists(LIDS, max_size=2).map(tuple),
    )
)
def test_a_value_of_any_kind_is_read_back_as_it_was_shown(chest, values):
    chest.restore_defaults()
    chest.set_values(values)
    assert Chest(**chest.values()) == Chest(**values)
    for name in ("sizes", "names", "corner", "seed", "lids"):  # the same text typed anew is the same value
        line = chest.editor(name).widget
        if text := line.text():
            chest.editor(name).set_value(None)
            line.setText(text)
    assert Chest(**chest.values()) == Chest(**values)


@pytest.fixture
def chest(qtbot):
    made = SettingsForm(Chest)
    qtbot.addWidget(made)
    return made


def test_what_is_advanced_is_folded_away_until_it_is_wanted_and_what_is_hidden_is_not_there(chest):
    assert "spare" not in chest.editors
    assert "secret" not in chest.names
    chest.set_values({"lids": (Lid(colour="blue"),)})
    assert chest.values() == {"lids": (Lid(colour="blue"),)}
    chest.more.open(True)
    assert "colour: blue" in chest.editors["lids"].widget.text()
    assert chest.values() == {"lids": (Lid(colour="blue"),)}


def test_text_that_is_no_value_is_said_at_its_field(chest):
    chest.editors["names"].widget.setText("a: b: c")
    assert "names" in chest.problems["names"]
    chest.editors["names"].widget.setText("a: b")
    assert chest.problems == {}
    chest.editors["sizes"].widget.setText("16, many")
    assert "sizes" in chest.problems
    assert chest.editors["sizes"].widget.styleSheet() == WRONG


def test_what_is_wrong_inside_settings_within_settings_is_said_with_the_whole_name(qtbot):
    class Box(Settings):
        basket: Basket = Basket()

    form = SettingsForm(Box)
    qtbot.addWidget(form)
    form.editors["basket"].form.editors["label"].widget.setText("much too long")
    assert form.problems["basket"].startswith("basket.label")
    assert form.problems["basket"].count("must be short") == 1


def all_settings():
    """Yield every settings model of the package."""
    for module in iter_modules(napari_vstain.core.__path__, "napari_vstain.core."):
        import_module(module.name)
    for name in ("data.importing", "preprocessing.stage", "training.settings", "inference.settings",
                 "evaluation.settings", "deployment.stage", "training.patch_settings"):  # fmt: skip
        import_module(f"napari_vstain.core.{name}")
    waiting, found = [Settings], []
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        if model.__module__.startswith("napari_vstain"):
            found.append(model)
    return sorted(found[1:], key=lambda model: model.__name__)


@pytest.mark.parametrize("model", all_settings(), ids=lambda model: model.__name__)
def test_every_settings_model_opens_as_a_form_that_shows_its_defaults(model, qtbot):
    form = SettingsForm(model)
    qtbot.addWidget(form)
    if form.more is not None:
        form.more.open(True)
    for name, field in fields_of(model).items():
        if field.level is FieldLevel.HIDDEN:
            assert name not in form.editors
            continue
        editor = form.editors[name]
        assert editor.title == field.title
        if not field.required:
            assert editor.value() == field.default, name
            form.set_values({name: field.default})
    assert not {name for name in form.values() if not fields_of(model)[name].required}
