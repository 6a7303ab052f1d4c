"""A pattern finds the files it was written for, and no other."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.data.layouts.pattern import FilePattern, natural
from napari_vstain.core.errors import DatasetError, SettingsError

words = st.text("abcXYZ019-", min_size=1, max_size=6)


def folder_with(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@settings(max_examples=40)
@given(position=words, channel=words, t=st.integers(0, 999), z=st.integers(0, 99))
def test_a_name_made_from_its_fields_is_taken_apart_into_them(tmp_path_factory, position, channel, t, z):
    folder = folder_with(tmp_path_factory.mktemp("p"), f"{position}/img_{channel}_t{t:04}_z{z:02}.tif")
    (match,) = FilePattern("{position}/img_{channel}_t{t}_z{z}.tif").planes(folder)
    assert (match.position, match.channel, match.t, match.z) == (position, channel, t, z)


def test_the_position_takes_what_it_can_and_the_channel_the_rest(tmp_path):
    (match,) = FilePattern("{position}_{channel}.tif").planes(folder_with(tmp_path, "ecoli_HG105_0_phase.tif"))
    assert (match.position, match.channel) == ("ecoli_HG105_0", "phase")


def test_channels_that_are_known_may_hold_any_character(tmp_path):
    folder = folder_with(tmp_path, "p1_ch_1.tif", "p1_ch_2.tif", "p1_phase.tif")
    found = list(FilePattern("{position}_{channel}.tif", ("ch_1", "phase")).planes(folder))
    assert [(match.position, match.channel) for match in found] == [("p1", "ch_1"), ("p1", "phase")]


def test_wells_endings_and_stars(tmp_path):
    folder = folder_with(tmp_path, "run7/B03_f2_gfp.TIF", "run8/AA12_f10_gfp.tiff", "run8/AA12_f9_gfp.tif", "x.csv")
    found = list(FilePattern("*/{row}{column}_f{position}_{channel}.tif").planes(folder))
    assert [(m.row, m.column, m.position) for m in found] == [("B", "03", "2"), ("AA", "12", "9"), ("AA", "12", "10")]


def test_every_character_but_the_fields_stands_for_itself(tmp_path):
    folder = folder_with(tmp_path, "a(1)+[x].tif", "a(1)+x.tif")
    assert [m.path.name for m in FilePattern("{position}(1)+[x].tif").planes(folder)] == ["a(1)+[x].tif"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{postion}.tif", "is none of position, channel"),
        ("{t}_{t}.tif", "names a field twice"),
        ("{position.tif", "has a single"),
        ("/data/{position}.tif", "below the source folder"),
        ("../{position}.tif", "below the source folder"),
        ("", "below the source folder"),
    ],
)
def test_a_pattern_that_cannot_be_says_why(text, rule):
    with pytest.raises(SettingsError, match=re.escape(rule)):
        FilePattern(text)


def test_no_match_shows_what_is_there(tmp_path):
    with pytest.raises(
        DatasetError, match=r"matches no file; the folder has img2.png, img10.png…; correct the pattern"
    ):
        list(FilePattern("{position}.tif").planes(folder_with(tmp_path, "img10.png", "img2.png")))
    with pytest.raises(DatasetError, match="is no folder"):
        list(FilePattern("{position}.tif").planes(tmp_path / "nowhere"))


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_natural_order_is_that_of_the_numbers(numbers):
    assert sorted((f"f{n}_x" for n in numbers), key=natural) == [f"f{n}_x" for n in sorted(numbers)]
