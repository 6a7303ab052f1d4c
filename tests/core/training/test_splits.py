"""A split keeps its parts apart, whatever else is in the dataset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import ChannelError, SettingsError
from napari_vstain.core.training.splits import Split, hash_split

KEYS = st.lists(st.from_regex(r"[A-H]/[1-9]/[0-9]", fullmatch=True), min_size=1, max_size=40, unique=True)


@given(KEYS, st.integers(0, 9))
def test_every_position_is_in_one_part_and_there_is_always_something_to_learn_and_to_check(keys, salt):
    split = hash_split(keys, salt)
    assert split.train
    assert split.validate
    if len(keys) > 1:
        assert sorted(split.train + split.validate + split.test) == sorted(keys)
    if len(keys) > 2:
        assert split.test
    assert split.checked(keys) == split


@given(KEYS, st.integers(0, 9), st.randoms())
def test_the_order_of_the_positions_does_not_matter(keys, salt, random):
    shuffled = random.sample(keys, len(keys))
    first, second = hash_split(keys, salt), hash_split(shuffled, salt)
    assert (set(first.train), set(first.validate), set(first.test)) == tuple(
        map(set, (second.train, second.validate, second.test))
    )


def test_a_position_keeps_its_place_when_others_come():
    keys = [f"A/{column}/{field}" for column in range(12) for field in range(5)]
    before, after = hash_split(keys[:40]), hash_split(keys)
    assert set(before.train) <= set(after.train)
    assert set(before.test) <= set(after.test)


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        (Split(()), SettingsError, "name at least one"),
        (Split(("A/1/9",)), ChannelError, "A/1/9"),
        (Split(("A/1/0",), (), ("A/1/0",)), SettingsError, "keep the test apart"),
    ],
)
def test_a_split_that_cannot_be_is_refused(split, error, message):
    with pytest.raises(error, match=message):
        split.checked(["A/1/0", "A/1/1"])
