"""What was predicted can be predicted again after other trainings, and is evaluated only as long as its input is."""

import numpy as np
import pytest
import torch
import zarr

from napari_vstain.core.data import open_dataset
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.evaluation import EvaluateSettings
from napari_vstain.core.evaluation import run as evaluate
from napari_vstain.core.inference import PredictSettings
from napari_vstain.core.inference import run as predict
from napari_vstain.core.models import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.models.files.checkpoint import save_checkpoint
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

from .test_stage import KEYS, NETWORK, TARGETS, make_dataset

HOW = {"dataset": "cells", "engine": "torch", "device": "cpu", "threads": 1, "experiment": "first"}


def make_run(workspace, seed=0):
    torch.manual_seed(seed)
    network = build_network(NETWORK, trusted=True).eval()
    field = receptive_field(network)
    spec = ModelSpec(
        sources=("Phase",),
        outputs=(OutputSpec(channels=TARGETS),),
        statistics=dict.fromkeys(("Phase", *TARGETS), Statistics(mean=8000, std=900, median=8000, iqr=900)),
        stride=field.stride,
        halo=field.halo,
        config=NETWORK,
        training={"dataset": "cells", "positions": {"train": list(KEYS)}},
    )
    save_checkpoint(workspace.experiment("first").new_run().checkpoints / "best.ckpt", spec, network)


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "study")
    make_dataset(made.new_dataset("cells"))
    make_run(made)
    return made


def pixels(store):
    return {key: position.image().compute() for key, position in open_dataset(store).positions.items()}


def test_a_replay_after_other_trainings_predicts_the_same_and_replaces_nothing(workspace, tmp_path):
    first = predict(PredictSettings(**HOW), workspace, Progress())
    before = pixels(first.store)
    make_run(workspace, seed=5)
    second = predict(PredictSettings(**HOW), workspace, Progress())
    assert (first.store.name, second.store.name) == ("predictions.zarr", "predictions_version_1.zarr")
    assert (first.config.name, second.config.name) == ("predictions.yml", "predictions_version_1.yml")
    assert not np.allclose(pixels(second.store)["B/1/0"], before["B/1/0"])
    again = PredictSettings.load(first.config)
    assert again.run == "version_0"
    same = predict(again, workspace, Progress())
    assert (same.store, same.megapixels) == (first.store, 0)
    other = predict(again.model_copy(update={"output": tmp_path / "other.zarr"}), workspace, Progress())
    for key in KEYS:
        np.testing.assert_array_equal(pixels(first.store)[key], before[key])
        np.testing.assert_array_equal(pixels(other.store)[key], before[key])
    with pytest.raises(DatasetError, match="by another model; choose another output, or overwrite"):
        predict(PredictSettings(**HOW, output=tmp_path / "other.zarr"), workspace, Progress())


def test_a_position_whose_pixels_changed_is_not_evaluated_before_it_is_predicted_again(workspace):
    predict(PredictSettings(**HOW), workspace, Progress())
    zarr.open_array(workspace.dataset("cells") / "A/1/0/0", mode="r+")[0, 0, 0, 3, 4] += 1
    result = evaluate(EvaluateSettings(experiment="first", baseline=False), workspace, Progress())
    assert set(result.positions) == {*KEYS} - {"A/1/0"}
    assert [str(one) for one in result.left_out] == [
        "A/1/0 was predicted from other pixels than the dataset has now: predict it again"
    ]
    predict(PredictSettings(**HOW), workspace, Progress())
    result = evaluate(EvaluateSettings(experiment="first", baseline=False), workspace, Progress())
    assert set(result.positions) == set(KEYS)


def test_a_store_that_is_only_made_has_nothing_to_evaluate(workspace):
    predict(PredictSettings(**HOW, init=True), workspace, Progress())
    with pytest.raises(DatasetError, match="nothing is predicted yet"):
        evaluate(EvaluateSettings(experiment="first"), workspace, Progress())
