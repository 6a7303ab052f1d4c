"""What is predicted from: what was chosen, else what nobody could take for another image, else nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_vstain.core.session.matching import OpenImage, match_sources

names = st.sampled_from(["Phase", "phase", "DIC", "Nuclei", "Membrane", "my image", "Phase [1]", ""])


@st.composite
def open_images(draw, roles=("source", "target", "prediction", "")):
    """Images of a dataset, or a person's own, each known by its own key."""
    made = draw(st.lists(st.tuples(names, names, st.sampled_from(roles), st.booleans()), max_size=6))
    return [
        OpenImage((number, channel), channel, name, role, here)
        for number, (channel, name, role, here) in enumerate(made)
    ]


sources_of_a_model = st.lists(st.sampled_from(["Phase", "DIC", "Phase3D", "BF"]), min_size=1, max_size=3, unique=True)


@st.composite
def situations(draw):
    """A model's sources, open images, and what a person chose of them."""
    images, sources = draw(open_images()), draw(sources_of_a_model)
    keys = [image.key for image in images] or [("gone", "")]
    chosen = draw(st.dictionaries(st.sampled_from(sources), st.sampled_from([*keys, ("gone", "")])))
    return sources, images, chosen


@given(situations(), open_images(roles=("prediction",)))
def test_our_own_predictions_change_nothing(situation, predictions):
    sources, images, chosen = situation
    assert match_sources(sources, [*images, *predictions], chosen) == match_sources(sources, images, chosen)


@given(situations(), st.randoms())
def test_the_order_of_the_layers_does_not_matter(situation, random):
    sources, images, chosen = situation
    other = list(images)
    random.shuffle(other)
    assert match_sources(sources, other, chosen) == match_sources(sources, images, chosen)


@given(situations())
def test_a_target_is_never_taken_unasked(situation):
    sources, images, chosen = situation
    for source, image in zip(sources, match_sources(sources, images, chosen), strict=True):
        if image is not None and image.role == "target":
            assert chosen.get(source) == image.key or image.channel.casefold() == source.casefold()


@given(situations(), st.randoms())
def test_a_choice_stays_whatever_else_comes_or_goes(situation, random):
    sources, images, chosen = situation
    for source, image in zip(sources, match_sources(sources, images, chosen), strict=True):
        if image is not None and chosen.get(source) == image.key:
            others = [other for other in images if other is not image and random.random() < 0.5]
            at = sources.index(source)
            assert match_sources(sources, [*others, image], chosen)[at] == image


@example([OpenImage((0, "Phase"), "Phase", "DIC", "source")], ["Phase", "DIC"])
@example([OpenImage((0, "PHASE"), "PHASE", "PHASE", "source")], ["Phase", "phase"])
@given(open_images(), sources_of_a_model)
def test_no_image_is_two_sources_unless_somebody_chose_so(images, sources):
    found = [image for image in match_sources(sources, images, {}) if image is not None]
    assert len(set(found)) == len(found)


@given(situations())
def test_whoever_chose_an_image_that_is_gone_gets_no_other_because_it_is_alone(situation):
    sources, images, chosen = situation
    for source, image in zip(sources, match_sources(sources, images, chosen), strict=True):
        if image is not None and source in chosen and image.key != chosen[source]:
            named = source.casefold() in (image.channel.casefold(), image.name.casefold())
            assert named or image.role == "source"


def image(name, channel="", role="", here=True):
    return OpenImage((name, channel), channel, name, role, here)


PHASE, NUCLEI, MEMBRANE = (
    image("Phase", "Phase", "source"),
    image("Nuclei", "Nuclei", "target"),
    image("Membrane", "Membrane", "target"),
)


@pytest.mark.parametrize(
    ("sources", "images", "expected"),
    [
        (["Phase"], [NUCLEI, PHASE, MEMBRANE], ["Phase"]),
        (["Phase3D"], [NUCLEI, PHASE, MEMBRANE], ["Phase"]),  # by its role
        (["Phase3D"], [NUCLEI, MEMBRANE], [None]),  # targets only
        (["Phase3D"], [NUCLEI, image("mine")], ["mine"]),  # the only one that is no target
        (["Phase"], [image("x"), image("y")], [None]),
        (["Phase"], [image("my phase"), image("y")], [None]),  # to contain the name is not to be it
        (["Phase"], [image("PHASE"), image("y")], ["PHASE"]),
        (["Phase", "BF"], [image("BF"), image("Phase")], ["Phase", "BF"]),
        (["Phase", "BF"], [PHASE, image("Transmission", "Transmission", "source")], ["Phase", "Transmission"]),
        (["A", "B"], [PHASE, image("BF", "BF", "source")], [None, None]),
        (["Phase"], [image("Phase"), image("Phase [1]", "Phase", "source")], ["Phase [1]"]),
        (["Phase"], [image("old", "Phase", "source", here=False), PHASE], ["Phase"]),
        (["Nuclei"], [NUCLEI, PHASE], ["Nuclei"]),
    ],
)
def test_images_are_matched_by_name_then_role_then_because_there_is_no_other(sources, images, expected):
    found = match_sources(sources, images, {})
    assert [one.name if one else None for one in found] == expected
