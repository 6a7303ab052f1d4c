"""A store of predictions knows what it was made from, goes on only with that, and is filled by as many as like."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_vstain.core.data import create_plate, open_dataset, record, recorded
from napari_vstain.core.data.predicted import open_predictions, record_of
from napari_vstain.core.errors import DatasetError, SettingsError, VstainError
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.locks import locked
from napari_vstain.core.preprocessing import PreprocessSettings
from napari_vstain.core.preprocessing import run as preprocess
from napari_vstain.core.progress import Cancelled, CancelToken, Progress
from napari_vstain.core.workspace import Workspace

from .networks import TinyUNet
from .plates import Counting, plate, predictor_of, workspace_with

KEYS = ("A/1/0", "A/1/1", "B/3/0")
SMALL = (1, 2, 1, 40, 600)
"""Two blocks."""


@pytest.fixture
def workspace(tmp_path):
    return workspace_with(tmp_path / "work", keys=KEYS, shape=SMALL)


def predict(workspace, predictor=None, **more):
    settings = PredictSettings.parse({"dataset": "noise", "experiment": "test", "tile_px": 512, **more})
    return run(settings, workspace, Progress(), predictor=predictor or predictor_of())


def counting(**more):
    predictor = predictor_of(**more)
    predictor.engine = predictor.runner.engine = Counting(TinyUNet(depth=1))
    return predictor


def pixels(store, key=KEYS[0]):
    return open_dataset(store).position(key).image().compute()


def fresh(workspace, **more):
    return predict(workspace, output=workspace.root / "fresh.zarr", existing="overwrite", **more).store


def test_what_computed_a_position_from_what_is_recorded(workspace):
    said = record_of(open_dataset(predict(workspace).store).position(KEYS[0]))
    assert said["computed_by"]["engine"] == "torch"
    assert said["computed_by"]["precision"] == "float32"
    assert {"napari-vstain", "numpy", "python"} <= set(said["computed_by"]["versions"])
    assert said["computed_by"]["date"].startswith("20")
    assert set(said["input"]) == {"token", "layout", "times", "content"}
    assert said["input"]["content"]
    assert said["normalization"]["sources"]["all"] == [[100.0, pytest.approx(20)]]


# What the input was


def test_a_dataset_that_was_replaced_under_its_path_is_predicted_anew(workspace):
    store = predict(workspace).store
    path = workspace.dataset("noise")
    shutil.rmtree(path)
    plate(path, keys=KEYS, shape=SMALL, seed=7)
    result = predict(workspace)
    assert result.store == store
    assert all(any(key in warning and "other pixels" in warning for warning in result.warnings) for key in KEYS)
    for key in KEYS:
        np.testing.assert_array_equal(pixels(store, key), pixels(fresh(workspace), key))


def test_a_dataset_of_another_shape_under_the_path_is_predicted_anew(workspace):
    predict(workspace)
    path = workspace.dataset("noise")
    shutil.rmtree(path)
    plate(path, keys=KEYS, shape=(1, 2, 1, 50, 90), seed=7)
    store = predict(workspace).store
    assert pixels(store).shape == (1, 1, 1, 50, 90)
    np.testing.assert_array_equal(pixels(store), pixels(fresh(workspace)))


def test_one_position_that_was_edited_is_predicted_anew_and_no_other(workspace):
    store = predict(workspace).store
    zarr.open_array(workspace.dataset("noise") / KEYS[1] / "0", mode="r+")[0, 1, 0, 3, 4] += 1
    again = counting()
    predict(workspace, again)
    assert len(again.engine.runs) == 2
    np.testing.assert_array_equal(pixels(store, KEYS[1]), pixels(fresh(workspace), KEYS[1]))


def test_a_channel_that_is_not_predicted_from_may_change(workspace):
    predict(workspace)
    zarr.open_array(workspace.dataset("noise") / KEYS[1] / "0", mode="r+")[0, 0, 0, 3, 4] += 1
    again = counting()
    predict(workspace, again)
    assert again.engine.runs == []


def test_nothing_of_another_input_stays_outside_of_a_region_that_is_predicted(workspace):
    store = predict(workspace).store
    zarr.open_array(workspace.dataset("noise") / KEYS[0] / "0", mode="r+")[0, 1] += 1
    predict(workspace, positions=KEYS[:1], region=(0, 0, 40, 512))
    assert not pixels(store)[..., 512:].any()
    assert recorded(open_dataset(store).position(KEYS[0]), "prediction")["tiles_done"] == "0"


@pytest.mark.parametrize("spelled", ["relative", "link", "absolute"])
def test_one_dataset_is_one_however_its_path_is_spelled(tmp_path, monkeypatch, spelled):
    workspace = Workspace.create(tmp_path / "study")
    path = plate(tmp_path / "far.zarr", keys=KEYS[:1], shape=SMALL)
    (tmp_path / "link.zarr").symlink_to(path)
    monkeypatch.chdir(workspace.root)
    names = {"relative": "../far.zarr", "link": str(tmp_path / "link.zarr"), "absolute": str(path)}
    predict(workspace, dataset=names[spelled], output=tmp_path / "o.zarr")
    for name in names.values():
        again = counting()
        predict(workspace, again, dataset=name, output=tmp_path / "o.zarr")
        assert again.engine.runs == []


def test_a_workspace_that_moves_and_a_store_that_is_mounted_elsewhere_are_the_same(tmp_path, workspace):
    far = plate(tmp_path / "far.zarr", keys=KEYS[:1], shape=SMALL, seed=5)
    predict(workspace)
    predict(workspace, dataset=str(far), output=workspace.root / "far.zarr")
    moved = Workspace.open(workspace.root.rename(tmp_path / "moved"))
    (tmp_path / "mount").mkdir()
    far = far.rename(tmp_path / "mount" / "far.zarr")
    again = counting()
    predict(moved, again)
    predict(moved, again, dataset=str(far), output=moved.root / "far.zarr")
    assert again.engine.runs == []


def test_other_normalization_numbers_predict_the_position_anew_and_leave_no_seam(workspace):
    def by_field():
        return predictor_of(source_normalization={"level": "fov"})

    preprocess(PreprocessSettings(dataset="noise"), workspace, Progress())
    store = predict(workspace, by_field(), region=(0, 0, 40, 512)).store
    preprocess(PreprocessSettings(dataset="noise", grid_spacing_px=7), workspace, Progress())
    result = predict(workspace, by_field())
    assert any("other numbers" in warning for warning in result.warnings)
    whole = predict(workspace, by_field(), output=workspace.root / "fresh.zarr").store
    for key in KEYS:
        np.testing.assert_array_equal(pixels(store, key), pixels(whole, key))


def test_a_store_of_an_earlier_version_is_gone_on_with_in_a_sentence(workspace):
    store = predict(workspace).store
    for position in open_dataset(store).positions.values():
        said = dict(record_of(position))
        for name in ("input", "normalization", "computed_by"):
            del said[name]
        record(position, prediction=said)
    again = counting()
    result = predict(workspace, again)
    assert again.engine.runs == []
    assert f"{KEYS[0]} was predicted by a version that did not note its input" in " ".join(result.warnings)


# What is there already


def test_a_region_slices_or_times_that_hold_nothing_are_refused(workspace):
    wrong = [
        {"region": (20, 0, 10, 30)}, {"region": (-1, 0, 10, 30)}, {"region": (0, 5, 10, 5)}, {"slices": (1, 0)},
        {"times": (0, 0)}, {"region": (0, 0, 41, 10)}, {"region": (100, 0, 200, 10)}, {"slices": (0, 2)},
        {"times": (3, 4)},
    ]  # fmt: skip
    for part in wrong:
        with pytest.raises(SettingsError, match=next(iter(part))):
            predict(workspace, **part)
    assert not workspace.experiment("test").evaluation.exists()


def test_skipping_leaves_only_what_is_done_as_far_as_it_is_asked_for(workspace):
    store = predict(workspace, region=(0, 0, 40, 512), positions=KEYS[:1]).store
    again = counting()
    predict(workspace, again, existing="skip", positions=KEYS[:1], region=(0, 0, 40, 512))
    assert again.engine.runs == []
    predict(workspace, again, existing="skip", positions=KEYS[:1])
    assert len(again.engine.runs) == 1
    assert record_of(open_dataset(store).position(KEYS[0]))["complete"]


@pytest.mark.parametrize("left", ["nothing", "an empty list", "an empty folder", "empty positions", "damage"])
def test_an_unfinished_store_is_an_empty_one(workspace, left):
    store = predict(workspace, init=True).store
    if left == "nothing":
        shutil.rmtree(store)
    elif left == "an empty folder":
        shutil.rmtree(store)
        store.mkdir()
    elif left == "an empty list":
        shutil.rmtree(store)
        create_plate(store, ["stain0_prediction"])
    elif left == "damage":
        (store / KEYS[0] / "zarr.json").write_text("{")
        (store / "B/3/0/zarr.json").write_text("{")
        (store / "A/1/zarr.json").write_text("{")
    with pytest.raises(VstainError):
        open_predictions(store)
    predict(workspace, existing="overwrite")
    np.testing.assert_array_equal(pixels(store), pixels(fresh(workspace)))


def test_what_is_no_store_of_predictions_is_never_replaced(workspace, tmp_path):
    other = plate(tmp_path / "data.zarr", keys=KEYS[:1], shape=SMALL)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("")
    for path in (other, tmp_path / "thesis", workspace.dataset("noise")):
        before = sorted(path.rglob("*"))
        with pytest.raises(DatasetError, match="stays as it is"):
            predict(workspace, output=path, existing="overwrite")
        assert sorted(path.rglob("*")) == before


# Many processes


def test_a_store_is_made_first_and_filled_by_position_in_any_order(workspace):
    whole = predict(workspace, output=workspace.root / "whole.zarr").store
    made = predict(workspace, init=True)
    assert [one.position for one in made.forecasts] == list(KEYS)
    assert all(one.seconds > 0 and one.memory_bytes > 0 for one in made.forecasts)
    assert made.listing.read_text().split() == list(KEYS)
    assert tuple(open_dataset(made.store).positions) == KEYS
    with pytest.raises(DatasetError, match="nothing is predicted yet"):
        open_predictions(made.store)
    for key in (KEYS[2], KEYS[0], KEYS[1]):
        settings = PredictSettings.load(made.config).model_copy(update={"positions": (key,)})
        run(settings, workspace, Progress(), predictor=predictor_of())
    assert PredictSettings.load(made.config).positions == KEYS
    for key in KEYS:
        np.testing.assert_array_equal(pixels(made.store, key), pixels(whole, key))


def test_positions_are_listed_in_the_datasets_order_whoever_comes_first(workspace):
    for key in (KEYS[2], KEYS[1], KEYS[0]):
        store = predict(workspace, positions=(key,)).store
    assert tuple(open_dataset(store).positions) == KEYS


def test_a_position_that_another_process_predicts_is_waited_for(workspace):
    store = predict(workspace, init=True).store
    token = CancelToken()

    class Sink:
        def reported(self, report):
            if "is changing it" in report.message:
                token.cancel()

        def produced(self, item): ...

    settings = PredictSettings(dataset="noise", experiment="test", tile_px=512)
    with locked(store / KEYS[0]), pytest.raises(Cancelled):
        run(settings, workspace, Progress(token, Sink()), predictor=predictor_of())
    assert predict(workspace).positions == KEYS


CHILD = """
import sys
sys.path.insert(0, {tests!r})
from core.inference.plates import predictor_of
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

settings = PredictSettings(dataset="noise", experiment="test", tile_px=512, positions={keys!r})
print("ready", flush=True)
run(settings, Workspace.open({root!r}), Progress(), predictor=predictor_of())
"""


def start(workspace, *keys):
    script = CHILD.format(tests=str(Path(__file__).parents[2]), root=str(workspace.root), keys=tuple(keys))
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)


def test_processes_that_are_killed_and_started_again_fill_a_store_as_one_alone_does(workspace):
    """Two on the same position, one on all: in any order, some killed."""
    whole = predict(workspace, output=workspace.root / "whole.zarr").store
    chance = random.Random(0)
    children = [start(workspace, key) for key in (*KEYS, KEYS[0])] + [start(workspace)]
    for child in children:
        child.stdout.readline()
    for child in chance.sample(children, 3):
        try:
            child.wait(chance.random() / 4)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
    for child in children:
        child.wait()
        child.stdout.close()
    again = [start(workspace, key) for key in KEYS]
    assert [child.wait() for child in again] == [0] * len(KEYS)
    for child in again:
        child.stdout.close()
    store = workspace.experiment("test").predictions()
    assert tuple(open_dataset(store).positions) == KEYS
    for key in KEYS:
        assert record_of(open_dataset(store).position(key))["complete"]
        np.testing.assert_array_equal(pixels(store, key), pixels(whole, key))
    assert [path for path in store.rglob("*") if path.name.endswith((".lock", ".partial"))] == []
