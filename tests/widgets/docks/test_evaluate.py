"""The Evaluate dock judges a run by its own split, and says when a score is nothing to rely on."""

import numpy as np
import pytest

from napari_vstain.core.evaluation import METRICS, headlines
from napari_vstain.core.evaluation.table import Row, to_table
from napari_vstain.core.models.split import Split
from napari_vstain.core.session import Session, open_path
from napari_vstain.widgets.docks.evaluate import COLUMNS, EvaluateSection, table_rows, verdict
from napari_vstain.widgets.section import Condition

PATIENCE_MS = 240_000


@pytest.fixture
def trained(workspace):
    """A run whose test is another position than the one that would be proposed."""
    session = Session()
    session.open(workspace.root)
    session.choose_channels(("Phase",), ("Nuclei",))
    keys = tuple(session.open_dataset.positions)
    proposed = session.split().test
    test = next(key for key in keys if key not in proposed)
    others = tuple(key for key in keys if key != test)
    split = Split(others[:1], others[1:2], (test,))
    result = session.train("first", split, epochs=1, patch_px=32, batch_size=2, batches_per_epoch=1).result()
    assert session.close(timeout_s=20)
    return result.run, split


@pytest.fixture
def section(context, qtbot, workspace):
    made = EvaluateSection(context)
    qtbot.addWidget(made)
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    return made


def cells(section, column):
    at = COLUMNS.index(column)
    return [section.table.item(row, at).text() for row in range(section.table.rowCount())]


def test_a_run_is_judged_by_the_positions_that_it_kept_for_the_test(trained, section, qtbot):
    _, split = trained
    qtbot.waitUntil(section.go.isEnabled, timeout=PATIENCE_MS)
    assert section.go.text() == "Evaluate 1 position"
    section.go.click()
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    assert set(cells(section, "position")) == set(split.test)
    assert set(cells(section, "split")) == {"test"}
    assert "over 1 test position" in section.headline.text()
    section.every.setChecked(True)
    assert section.go.text() == "Evaluate 6 positions"
    section.go.click()
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    parts = cells(section, "split")
    assert parts[0] == "test"  # what judges it comes first
    assert {"test", "validate", "train", ""} == set(parts)
    assert "over 1 test position" in section.headline.text()  # a headline is over nothing else


def row(part, score, predictor="model"):
    metrics = dict.fromkeys(METRICS, score)
    return Row("first", "version_0", "f", predictor, "cells", "A/1/0", part, "unreviewed", "Nuclei", 0, None,
               "volume", None, "whole", metrics)  # fmt: skip


@pytest.mark.parametrize(
    ("part", "score", "baseline", "condition"),
    [
        ("test", 0.6, 0.5, Condition.DONE),
        ("test", 0.57, 0.58, Condition.CAUTION),
        ("train", 0.9, 0.5, Condition.CAUTION),
        ("", 0.6, 0.5, Condition.DONE),
    ],
)
def test_no_green_tick_stands_at_a_score_that_is_nothing_to_rely_on(part, score, baseline, condition):
    table = to_table([row(part, score), row(part, baseline, "baseline")])
    came, words = verdict(headlines(table))
    assert came is condition
    assert ("below the baseline" in words) == (score < baseline)
    assert np.isin([f"{score:.3f}", f"{baseline:.3f}"], np.ravel(table_rows(table))).all()
