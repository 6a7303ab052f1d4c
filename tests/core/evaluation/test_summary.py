"""A headline is over unseen positions where there are any, stands beside the baseline, and never mixes parts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.evaluation import METRICS, headlines, summarize
from napari_vstain.core.evaluation.table import Row, to_table

PARTS = ("test", "validate", "train", "")


def row(part, position, pearson, predictor="model", channel="Nuclei", t=0):
    metrics = dict.fromkeys(METRICS, 0.0) | {"pearson": pearson}
    return Row("first", "version_0", "f", predictor, "cells", position, part, "unreviewed", channel, t, None, "volume",
               None, "whole", metrics)  # fmt: skip


SCORES = st.lists(st.tuples(st.sampled_from(PARTS), st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=12)


@given(SCORES)
def test_no_mean_is_over_more_than_one_part_and_the_test_comes_first(scores):
    rows = [row(part, f"A/1/{n}", model) for n, (part, model, _) in enumerate(scores)]
    found = summarize(to_table(rows))
    assert [one.part for one in found] == [part for part in PARTS if part in {part for part, *_ in scores}]
    for one in found:
        own = [model for part, model, _ in scores if part == one.part]
        assert one.positions == len(own)
        assert one.metrics["pearson"] == pytest.approx(sum(own) / len(own))


@given(SCORES)
def test_a_headline_is_of_the_best_judge_and_says_whether_the_baseline_is_beaten(scores):
    rows = [
        row(part, f"A/1/{n}", value, predictor)
        for n, (part, *values) in enumerate(scores)
        for predictor, value in zip(("model", "baseline"), values, strict=True)
    ]
    (headline,) = headlines(to_table(rows))
    there = {part for part, *_ in scores}
    assert headline.means.part == next(part for part in ("test", "", "validate", "train") if part in there)
    assert headline.below_baseline == (headline.means.metrics["pearson"] <= headline.baseline)
    assert ("below the baseline" in str(headline)) == headline.below_baseline
    assert ("say nothing of unseen images" in str(headline)) == (not there & {"test", ""})


def test_positions_weigh_alike_however_many_time_points_they_have():
    movie = [row("test", "A/1/0", 1.0, t=t) for t in range(9)]
    (means,) = summarize(to_table([*movie, row("test", "A/1/1", 0.0)]))
    assert means.metrics["pearson"] == pytest.approx(0.5)
    assert means.of == "2 test positions"


def test_what_is_not_defined_is_no_number_and_beats_nothing():
    (headline,) = headlines(to_table([row("test", "A/1/0", math.nan), row("test", "A/1/0", 0.5, "baseline")]))
    assert str(headline) == "Nuclei: Pearson not defined, baseline 0.500, over 1 test position"


def test_an_empty_table_has_no_headline():
    assert headlines(to_table([])) == []
