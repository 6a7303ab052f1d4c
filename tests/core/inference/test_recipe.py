"""What is asked for in another way, or made from another input, is never taken for what is asked for now."""

from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.data.identity import Identity
from napari_vstain.core.inference.recipe import Existing, Input, Recipe, Step, next_step

DETAILS = {"dataset": "cells", "sources": ["Phase"], "augment": "none", "precision": "float32", "z_step": 1}
recipes = st.builds(
    lambda fingerprint, changes: Recipe({}, fingerprint, {**DETAILS, **changes}),
    st.sampled_from("ab"),
    st.fixed_dictionaries(
        {},
        optional={
            "dataset": st.sampled_from(["cells", "/far/cells.zarr"]),
            "augment": st.sampled_from(["none", "mean"]),
            "sources": st.sampled_from([["Phase"], ["DIC"]]),
            "z_step": st.integers(1, 2),
        },
    ),
)
numbers = st.sampled_from([{"all": [[0.5, 2.0]]}, {"all": [[0.5, 2.5]]}])
inputs = st.builds(
    lambda layout, sources: Input(
        Identity("", layout, "t", "c"), {"sources": sources, "targets": {"stain": [[1.0, 1.0]]}}
    ),
    st.sampled_from("ab"),
    numbers,
)


def record_of(recipe, made_from, done="0-3"):
    return {
        "fingerprint": recipe.fingerprint,
        "details": dict(recipe.details),
        "digest": recipe.digest,
        "tiles_done": done,
        **made_from.as_record(),
    }


@given(recipes, recipes, inputs, inputs, st.sampled_from(Existing), st.booleans(), st.booleans())
def test_a_position_is_gone_on_with_only_by_the_same_recipe_from_the_same_input(
    before, now, was, found, existing, done, begun
):
    said = record_of(before, was, "0-3" if begun else "")
    step, _ = next_step(said, now, lambda: found.changed_since(said, lambda: "c"), existing, done)
    same_recipe, same_input = before.digest == now.digest, was == found
    if step is Step.GO_ON:
        assert same_recipe
        assert same_input
    if not begun or existing is Existing.OVERWRITE:
        assert step is Step.ANEW
    elif not same_recipe:
        left = Step.LEAVE if existing is Existing.SKIP and done else Step.REFUSE
        assert step is (Step.ANEW if existing is Existing.RENEW else left)
    elif not same_input:
        assert step is Step.ANEW
    else:
        assert step is (Step.LEAVE if existing is Existing.SKIP and done else Step.GO_ON)


@given(recipes, recipes)
def test_a_difference_is_said_exactly_where_there_is_one_and_the_datasets_name_is_none(before, now):
    said = {"fingerprint": before.fingerprint, "details": dict(before.details)}
    assert bool(now.differs_from(said)) is (before.digest != now.digest)


@given(recipes, inputs)
def test_a_store_of_an_earlier_version_is_gone_on_with_and_it_is_said(recipe, found):
    said = {"fingerprint": recipe.fingerprint, "details": dict(recipe.details), "tiles_done": "0"}
    step, why = next_step(said, recipe, lambda: found.changed_since(said, lambda: "c"), Existing.RESUME, False)
    assert step is Step.GO_ON
    assert "taken to be unchanged" in why
