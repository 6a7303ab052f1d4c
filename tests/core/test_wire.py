"""What one process says, the other hears: every event comes back from its line as it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core import errors, wire
from napari_vstain.core.errors import VstainError
from napari_vstain.core.left_out import LeftOut
from napari_vstain.core.progress import Report
from napari_vstain.core.training.results import Scalars
from napari_vstain.core.wire import WireRecord, decode, encode

texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
records = st.builds(WireRecord, name=texts, values=st.dictionaries(texts, plain, max_size=4))
rows = st.lists(texts, max_size=3)
events = st.one_of(
    st.builds(Report, phase=texts, done=numbers, total=st.none() | numbers, unit=texts, message=texts),
    st.builds(wire.Produced, records),
    st.builds(wire.Returned, records),
    st.builds(wire.Note, texts),
    st.builds(wire.Made, st.dictionaries(texts, texts, max_size=3)),
    st.builds(wire.Tabled, texts, rows, st.lists(rows, max_size=3)),
)
CLASSES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, VstainError)]


@given(events)
def test_every_event_comes_back_as_it_was_and_is_one_line(event):
    line = encode(event)
    assert len(line.splitlines()) == 1
    assert decode(line) == event


@given(st.sampled_from(CLASSES), texts, st.none() | texts, texts, texts)
def test_every_error_comes_back_in_its_class_with_its_parts(kind, field, value, rule, remedy):
    back = decode(encode(kind(field, value, rule, remedy)))
    assert type(back) is kind
    assert (back.field, back.value, back.rule, back.remedy) == (field, value, rule, remedy)


@given(st.text() | plain.map(str) | st.just('{"event": "note"}') | st.just('{"event": "returned", "other": 1}'))
def test_what_somebody_else_prints_is_no_event(line):
    assert decode(line) is None


@given(st.dictionaries(texts, st.floats(), max_size=5))
def test_any_name_of_a_scalar_passes(values):
    back = decode(encode(wire.Produced(WireRecord.of(Scalars(3, 0.5, values))))).item.to(Scalars)
    assert (back.step, back.epoch) == (3, 0.5)
    assert list(back.values) == list(values)
    np.testing.assert_equal(list(back.values.values()), list(values.values()))


class Found(NamedTuple):
    where: tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """A result with what results are made of."""

    path: Path
    left_out: tuple[LeftOut, ...]
    found: Mapping[str, Found]
    error: np.float32
    pixels: np.ndarray | None = None


def test_a_result_comes_back_in_the_types_of_its_fields_and_what_no_json_holds_stays_behind():
    said = Outcome(Path("a"), (LeftOut("A/1/0", "is empty"),), {"x": Found((1, 2))}, np.float32(0.5), np.zeros(3))
    record = decode(encode(wire.Returned(WireRecord.of(said)))).result
    assert record.values == {
        "path": "a", "left_out": [{"position": "A/1/0", "reason": "is empty"}], "found": {"x": {"where": [1, 2]}},
        "error": 0.5,
    }  # fmt: skip
    typed = WireRecord("Outcome", {name: value for name, value in record.values.items() if name != "error"})
    with pytest.raises(TypeError, match="error"):
        typed.to(Outcome)


@dataclass(frozen=True)
class Small:
    path: Path
    left_out: tuple[LeftOut, ...]
    found: Mapping[str, Found]


def test_paths_named_tuples_and_mappings_are_typed_again():
    said = Small(Path("a/b"), (LeftOut("A/1/0", "is empty"),), {"x": Found((1, 2))})
    assert decode(encode(wire.Returned(WireRecord.of(said)))).result.to(Small) == said
