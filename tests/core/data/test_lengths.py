"""Every unit by its own name; what is none of length is unknown; what no microscope makes is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.data.lengths import as_number, doubts, length, micrometres_in


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("micrometer", 1), ("micrometre", 1), ("micrometers", 1), ("microns", 1), ("Micron", 1), ("um", 1), ("µm", 1),
        ("μm", 1), ("\\u00B5m", 1), ("Âµm", 1), ("nm", 1e-3), ("Nanometres", 1e-3), ("mm", 1e3), ("cm", 1e4),
        ("inch", 25400), ("inches", 25400), ("Å", 1e-4), ("m", 1e6),
        ("pixel", None), ("pixels", None), ("reference frame", None), ("", None), (None, None), (3, None), ("Mm", None),
        ("sec", None), ("s", None),
    ],
)  # fmt: skip
def test_a_unit_is_known_by_its_names_and_signs(unit, factor):
    assert micrometres_in(unit) == (pytest.approx(factor) if factor else None)


@given(value=st.none() | st.booleans() | st.text() | st.floats() | st.integers() | st.lists(st.integers()))
def test_a_length_is_above_zero_or_unknown(value):
    found = length(value)
    assert found is None or 0 < found < float("inf")
    assert as_number(value) is None or isinstance(as_number(value), float)


@pytest.mark.parametrize(
    ("spacing", "slices", "said"),
    [
        ((1, 0.3, 0.3), 5, ""), ((None, 0.3, 0.3), 1, ""), (None, 1, "stays unknown"), ((None, 0.3, 0.3), 2, "(Z)"),
        ((1, 352.8, 352.8), 1, "352.8 µm, which is unlikely"), ((1, 0.3, 1e-4), 1, "0.0001 µm"),
    ],
)  # fmt: skip
def test_what_is_unknown_or_unlikely_is_said(spacing, slices, said):
    assert said in doubts(spacing, slices) and bool(said) == bool(doubts(spacing, slices))
