"""A split keeps its parts apart, has exact shares, and keeps wells together, whatever the plate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import ChannelError, SettingsError
from napari_vstain.core.models import ModelSpec, OutputSpec
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.split import Split, well_of
from napari_vstain.core.training.splits import propose_split, toggle_part

KEYS = st.lists(st.from_regex(r"[A-H]/[1-9]/[0-9]", fullmatch=True), min_size=1, max_size=60, unique=True)
SEEDS = st.integers(0, 9)


@given(KEYS, SEEDS)
def test_every_position_is_in_one_part_and_there_is_always_something_to_learn_and_to_check(keys, seed):
    split = propose_split(keys, seed)
    assert split.train
    assert split.validate
    if len(keys) > 1:
        assert sorted(split.train + split.validate + split.test) == sorted(keys)
    if len(keys) > 2:
        assert split.test
    assert split.checked(keys) == split


@given(KEYS, SEEDS, st.randoms())
def test_the_order_of_the_positions_does_not_matter(keys, seed, random):
    first, second = propose_split(keys, seed), propose_split(random.sample(keys, len(keys)), seed)
    assert first.parts == second.parts


@given(KEYS, SEEDS)
def test_fields_of_one_well_lie_on_one_side_where_there_are_three_wells(keys, seed):
    if len({well_of(key) for key in keys}) < 3:
        return
    by_well = {}
    for key, part in propose_split(keys, seed).parts.items():
        by_well.setdefault(well_of(key), set()).add(part)
    assert all(len(parts) == 1 for parts in by_well.values())


@given(st.integers(3, 200), SEEDS)
def test_fields_of_one_well_have_exact_shares(count, seed):
    split = propose_split([f"0/0/{number}" for number in range(count)], seed)
    share = max(1, 0.15 * count)
    assert abs(len(split.validate) - share) <= 0.5
    assert abs(len(split.test) - share) <= 0.5


@given(st.integers(3, 24), st.integers(1, 9), SEEDS)
def test_wells_of_one_size_have_shares_exact_to_half_a_well(wells, fields, seed):
    split = propose_split([f"A/{well}/{field}" for well in range(wells) for field in range(fields)], seed)
    share = max(fields, 0.15 * wells * fields)
    for part in (split.validate, split.test):
        assert abs(len(part) - share) <= 0.5 * fields


@given(st.lists(st.integers(1, 30), min_size=3, max_size=20), SEEDS)
def test_a_large_well_is_learned_from_and_never_takes_the_place_of_the_others(sizes, seed):
    keys = [f"A/{well}/{field}" for well, fields in enumerate(sizes) for field in range(fields)]
    split = propose_split(keys, seed)
    assert len(split.train) >= max(sizes)


def test_the_model_says_its_own_split():
    spec = ModelSpec(
        sources=("Phase",),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        training={"positions": {"train": ["A/1/0"], "validate": ["A/1/0"], "test": ["A/2/0"]}},
    )
    assert spec.training.positions == Split(("A/1/0",), ("A/1/0",), ("A/2/0",))
    assert spec.training.positions.parts == {"A/1/0": "train", "A/2/0": "test"}
    assert Training().positions == Split(())


def test_what_flatters_is_said():
    assert "A/1/0 is learned from and validated on" in " ".join(propose_split(["A/1/0"]).cautions)
    assert "No position is kept for the test" in " ".join(propose_split(["A/1/0", "A/1/1"]).cautions)
    assert "Fields of wells A/1" in " ".join(Split(("A/1/0",), ("A/2/0",), ("A/1/1",)).cautions)
    assert not propose_split([f"A/{well}/0" for well in range(1, 9)]).cautions
    assert not Split(()).cautions


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


@given(
    keys=KEYS, toggles=st.lists(st.tuples(st.integers(0), st.sampled_from(["train", "validate", "test"])), max_size=6)
)
def test_a_split_that_is_changed_by_hand_keeps_wells_together_and_positions_in_one_part(keys, toggles):
    split = propose_split(keys)
    for number, part in toggles:
        key = keys[number % len(keys)]
        before, split = split, toggle_part(split, keys, key, part)
        assert (key in getattr(split, part)) == (key not in getattr(before, part))
        parts = [split.train, split.validate, split.test]
        assert len(keys) == 1 or sum(map(len, parts)) == len({key for part in parts for key in part})
        assert all(list(part) == [key for key in keys if key in part] for part in parts)
        mates = [other for other in keys if well_of(other) == well_of(key)]
        if len({well_of(key) for key in keys}) > 2:
            assert len({other in getattr(split, part) for other in mates}) == 1


def test_of_one_well_a_field_is_moved_alone():
    keys = ("A/1/0", "A/1/1", "A/1/2")
    split = toggle_part(Split(keys[:1], keys[1:2], keys[2:]), keys, "A/1/2", "train")
    assert split == Split(("A/1/0", "A/1/2"), ("A/1/1",), ())
