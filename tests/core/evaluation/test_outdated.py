"""metrics.csv says what each row is computed from, and keeps none of pixels or predictions that are others now."""

import shutil

import numpy as np
import pandas as pd
import pytest
import zarr

from napari_vstain.core.data import open_dataset, record, recorded
from napari_vstain.core.data.identity import as_record, identify
from napari_vstain.core.evaluation import METRICS, seen_pixels
from napari_vstain.core.evaluation.table import read_table
from napari_vstain.core.workspace import Workspace

from .test_stage import KEYS, evaluate, make_dataset, make_run, predict


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "workspace")
    make_dataset(made.new_dataset("cells"))
    predict_as_noted(made, make_run(made))
    return made


def predict_as_noted(workspace, run, keys=KEYS, digest="a"):
    """Write what a prediction stage would, the pixels and numbers that it was made from included."""
    predict(run, keys)
    dataset, store = open_dataset(workspace.dataset("cells")), open_dataset(run.experiment.predictions())
    for key in keys:
        pixels = as_record(identify(dataset.position(key), ["Phase"], content=True))
        said = {**recorded(store.position(key), "prediction"), "input": pixels, "normalization": {}, "digest": digest}
        record(store.position(key), prediction=said)


def edit(workspace, key, channel):
    array = zarr.open_array(workspace.dataset("cells") / key / "0", mode="r+")
    array[0, channel, 0, 5, 5] = array[0, channel, 0, 5, 5] + np.uint16(1)


def rows_of(table, key):
    return table[table["position"] == key].reset_index(drop=True)


def test_rows_of_one_input_say_the_same_and_of_others_not(workspace):
    first = evaluate(workspace).table
    assert (first[["prediction", "target"]] != "").all(axis=None)
    for column, unit in ("prediction", ["position"]), ("target", ["position", "channel"]):
        assert (first.groupby(unit)[column].nunique() == 1).all()
        assert set(rows_of(first, "A/1/0")[column]).isdisjoint(rows_of(first, "A/1/1")[column])
    edit(workspace, "B/1/0", 1)
    again = evaluate(workspace).table
    same = first["target"] == again["target"]
    assert set(first.loc[~same, "position"]) == {"B/1/0"} and set(first.loc[~same, "channel"]) == {"Nuclei"}
    pd.testing.assert_series_equal(first["prediction"], again["prediction"])


def test_the_digests_of_a_workspace_that_was_copied_stay(workspace, tmp_path):
    before = evaluate(workspace).table
    shutil.copytree(workspace.root, tmp_path / "copy")
    copy = Workspace.open(tmp_path / "copy")
    result = evaluate(copy, positions=("B/1/0",))
    assert result.warnings == ()
    table = read_table(result.metrics)
    assert set(table["position"]) == {*KEYS}
    for key in {*KEYS} - {"B/1/0"}:
        pd.testing.assert_frame_equal(rows_of(table, key), rows_of(before, key))
    assert set(table["target"]) == set(before["target"]) and set(table["prediction"]) == set(before["prediction"])


def test_pixels_that_were_compared_are_not_read_again_to_be_known(workspace, monkeypatch):
    monkeypatch.setattr("napari_vstain.core.data.identity.SETTLED_S", 0.0)
    evaluate(workspace, baseline=False)
    read = []
    content_of = seen_pixels.content_of
    monkeypatch.setattr(seen_pixels, "content_of", lambda *given: read.append(given) or content_of(*given))
    evaluate(workspace, positions=("B/1/0",), baseline=False)
    assert read == []
    (workspace.experiment("first").evaluation / ".metrics.json").write_text("damaged")
    assert evaluate(workspace, positions=("B/1/0",), baseline=False).warnings == ()
    assert len(read) == 2 * (len(KEYS) - 1)
    assert set(read_table(workspace.experiment("first").metrics)["position"]) == {*KEYS}


@pytest.mark.parametrize(("channel", "what"), [(0, "the source"), (1, "the target")])
def test_no_row_of_pixels_that_changed_stays_beside_those_of_now(workspace, channel, what):
    evaluate(workspace)
    edit(workspace, "A/2/0", channel)
    result = evaluate(workspace, positions=("B/1/0",), baseline=False)
    table = read_table(result.metrics)
    assert set(table["position"]) == {*KEYS} - {"A/2/0"}, what
    assert [line for line in result.warnings if "A/2/0" in line and "evaluate them again" in line]
    assert evaluate(workspace, positions=("B/1/0",), baseline=False).warnings == ()


def test_no_row_of_a_prediction_that_was_replaced_stays(workspace):
    evaluate(workspace, baseline=False)
    run = workspace.experiment("first").run()
    predict_as_noted(workspace, run, ["A/1/1"], digest="b")
    table = read_table(evaluate(workspace, positions=("B/1/0",), baseline=False).metrics)
    assert set(table["position"]) == {*KEYS} - {"A/1/1"}
    assert set(read_table(evaluate(workspace, positions=("A/1/1",)).metrics)["position"]) == {*KEYS}


def test_the_rows_of_another_run_go_with_the_pixels_that_they_were_compared_with(workspace):
    evaluate(workspace, baseline=False)
    second = make_run(workspace, seed=1)
    predict(second, path=second.experiment.predictions(second))
    edit(workspace, "A/2/0", 1)
    result = evaluate(workspace, run="version_1", baseline=False)
    table = read_table(result.metrics)
    assert set(table.query("run == 'version_0'")["position"]) == {*KEYS} - {"A/2/0"}
    assert set(table.query("run == 'version_1'")["position"]) == {*KEYS}


def test_a_table_of_before_is_read_and_appended_to(workspace):
    result = evaluate(workspace, positions=("A/1/0",), baseline=False)
    without = [name for name in pd.read_csv(result.metrics).columns if name not in ("prediction", "target")]
    pd.read_csv(result.metrics)[without].to_csv(result.metrics, index=False)
    result.readme.write_text(result.readme.read_text().partition("  prediction  ")[0])
    assert set(read_table(result.metrics)["prediction"]) == {""}
    again = evaluate(workspace, positions=("B/1/0",), baseline=False)
    table = read_table(again.metrics)
    assert set(table["position"]) == {"A/1/0", "B/1/0"} and again.warnings == ()
    pd.testing.assert_frame_equal(rows_of(table, "A/1/0")[list(METRICS)], rows_of(result.table, "A/1/0")[list(METRICS)])
    assert set(rows_of(table, "A/1/0")["target"]) == {""} and "" not in set(rows_of(table, "B/1/0")["target"])
    assert again.readme.read_text().count("  target  ") == 1
