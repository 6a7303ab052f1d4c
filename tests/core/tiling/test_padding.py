"""An image goes on beyond its borders as in a mirror, at any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.arrays import round_up
from napari_vstain.core.tiling.padding import reflect_pad, reflected_indices


@given(size=st.integers(2, 30), data=st.data())
def test_a_narrow_border_is_numpys_reflection(size, data):
    before, after = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    row = np.arange(size)
    np.testing.assert_array_equal(reflect_pad(row, [(before, after)]), np.pad(row, (before, after), mode="reflect"))


@given(size=st.integers(2, 9), start=st.integers(-50, 50), length=st.integers(0, 60))
def test_the_mirrors_repeat_with_period_twice_the_size_less_two(size, start, length):
    here = reflected_indices(start, start + length, size)
    np.testing.assert_array_equal(here, reflected_indices(start + 2 * size - 2, start + length + 2 * size - 2, size))
    np.testing.assert_array_equal(here, reflected_indices(-start - length + 1, -start + 1, size)[::-1])
    assert set(here.tolist()) <= set(range(size))


def test_a_single_pixel_repeats():
    np.testing.assert_array_equal(reflect_pad(np.array([[7.0]]), [(2, 3), (0, 1)]), np.full((6, 2), 7.0))


def test_only_the_last_axes_are_padded():
    image = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert reflect_pad(image, [(1, 0), (0, 9)]).shape == (2, 4, 13)


def test_an_empty_axis_is_refused():
    with pytest.raises(ValueError, match="empty"):
        reflected_indices(0, 3, 0)


@given(st.integers(0, 1000), st.integers(1, 64))
def test_rounding_up_gives_the_next_multiple(length, multiple):
    rounded = round_up(length, multiple)
    assert rounded % multiple == 0
    assert 0 <= rounded - length < multiple
