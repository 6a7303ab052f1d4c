"""The table is the union of the families' metrics, and says of intensities what it said before there were families."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_vstain.core.evaluation import METRICS, Definitions, image_metrics
from napari_vstain.core.evaluation.columns import FAMILIES, OTHER_COLUMNS, family_of
from napari_vstain.core.evaluation.families.family import Context
from napari_vstain.core.evaluation.table import COLUMNS, Row, read_table, to_table
from napari_vstain.core.models import OutputKind
from napari_vstain.core.workspace import Workspace

from .test_stage import evaluate, make_dataset, make_run, predict

BEFORE = Path(__file__).parent / "before"
"""What the code wrote when it knew intensities only, of the plate and the predictions of the tests beside."""


def test_the_table_and_what_explains_it_are_those_of_before(tmp_path):
    workspace = Workspace.create(tmp_path / "workspace")
    make_dataset(workspace.new_dataset("cells"))
    predict(make_run(workspace))
    result = evaluate(workspace, masks=("whole", "foreground"), threads=1)
    now, before = (path.read_text().partition(OTHER_COLUMNS) for path in (result.readme, BEFORE / "metrics.README"))
    assert now[0] == before[0]
    ours, known = read_table(result.metrics), read_table(BEFORE / "metrics.csv")
    assert list(ours.columns) == list(known.columns)
    varies = ["model", "dataset", "prediction", "target"]  # random weights, the day, and what was not noted
    said = [name for name in COLUMNS if name not in varies]
    pd.testing.assert_frame_equal(ours[said], known[said])
    pd.testing.assert_frame_equal(ours[list(METRICS)], known[list(METRICS)], rtol=1e-9)  # other processors round anew


def test_no_two_families_share_a_column_or_a_kind():
    assert len(set(METRICS)) == len(METRICS)
    kinds = [kind for family in FAMILIES for kind in family.kinds]
    assert len(set(kinds)) == len(kinds)
    assert [tuple(one.key for one in family.table(Definitions())) for family in FAMILIES] == [
        family.metrics for family in FAMILIES
    ]


def test_intensities_are_scored_by_their_family():
    target, guess = np.random.default_rng(0).normal(size=(2, 3, 20, 20))
    family = family_of(OutputKind.FLUORESCENCE)
    units = list(family.score(target, guess, Context({"whole": None}, Definitions())))
    assert [(unit.level, unit.z, unit.object_id) for unit in units] == [
        *(("slice", z, None) for z in range(3)),
        ("volume", None, None),
    ]
    assert units[-1].values == image_metrics(target, guess)


@pytest.mark.parametrize("kind", [OutputKind.POINTS, OutputKind.DISTANCE])
def test_what_no_family_compares_has_none(kind):
    assert family_of(kind) is None


def test_a_row_of_one_family_is_empty_in_the_columns_of_others():
    row = Row("e", "r", "m", "model", "d", "A/1/0", "", "", "c", 0, None, "volume", None, "whole", {"pearson": 1.0})
    table = to_table([row])
    assert table["pearson"][0] == 1
    assert table[[name for name in METRICS if name != "pearson"]].isna().all(axis=None)
