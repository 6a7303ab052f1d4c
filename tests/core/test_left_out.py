"""What cannot be used is named and left out; only where nothing is left, or on request, is it an error."""

import pytest

from napari_vstain.core.errors import ChannelError, DatasetError, NormalizationError, StorageError
from napari_vstain.core.left_out import LeftOut, check_left_out, leaving_out, outcome

EMPTY = LeftOut("B/02/1", "is empty in Phase")
MISSING = LeftOut("B/02/2", "is not there")


def test_the_outcome_says_how_many_of_how_many_and_why() -> None:
    assert outcome("Predicted", [f"A/{n}/0" for n in range(94)], [EMPTY, MISSING]) == (
        "Predicted 94 of 96 positions: B/02/1 is empty in Phase, B/02/2 is not there."
    )
    assert outcome("Predicted", ["A/1/0"], []) == "Predicted 1 position."


def test_a_position_with_two_reasons_counts_once() -> None:
    both = [EMPTY, LeftOut("B/02/1", "is constant in Nuclei")]
    assert outcome("Predicted", ["A/1/0"], both).startswith("Predicted 1 of 2 positions: ")


def test_a_position_that_was_done_in_part_counts_as_done() -> None:
    text = outcome("Preprocessed", ["B/02/1"], [LeftOut("B/02/1", "is constant in Nuclei")])
    assert text == "Preprocessed 1 position; left out: B/02/1 is constant in Nuclei."


def test_the_rest_goes_on_unless_nothing_is_left_or_strict() -> None:
    check_left_out(1, [EMPTY], strict=False)
    check_left_out(1, [], strict=True)
    for done, strict in [(0, False), (1, True)]:
        with pytest.raises(DatasetError, match=r"B/02/1.*is empty in Phase, and 1 more"):
            check_left_out(done, [EMPTY, MISSING], strict)


def test_what_data_provoke_becomes_a_reason_and_what_a_disk_provokes_does_not() -> None:
    left_out: list[LeftOut] = []
    with leaving_out("B/02/1", left_out):
        raise DatasetError("position", "B/02/1", "is empty in Phase.", "leave it out")
    with leaving_out("B/02/4", left_out):
        raise NormalizationError("channel", "Phase", "is empty", "choose another channel")
    with leaving_out("B/02/2", left_out):
        raise ChannelError("channel", "DNA", "position B/02/2 has Phase", "choose one of these")
    assert list(map(str, left_out)) == [
        "B/02/1 is empty in Phase",
        "B/02/4 is empty in Phase",
        "B/02/2 cannot be used: channel DNA position B/02/2 has Phase",
    ]
    with pytest.raises(StorageError), leaving_out("B/02/3", left_out):
        raise StorageError("folder", "/", "the disk is full", "free some space")
