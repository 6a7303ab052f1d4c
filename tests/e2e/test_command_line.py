"""The command line from image files to an ONNX model, through real parts, on a tiny dataset."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from napari_vstain.cli import main
from napari_vstain.core.data import open_dataset
from napari_vstain.core.models import ModelSpec
from napari_vstain.core.workspace import Workspace

TRAIN = (
    *("train", "cells", "--experiment", "first", "--sources", "phase", "--targets", "stain"),
    *("--train-on", "0/0/a", "0/0/b", "--validate-on", "0/0/c", "--test-on", "0/0/d"),
    *("--epochs", "2", "--batches-per-epoch", "4", "--batch-size", "2", "--patch-px", "64", "--features", "8", "16"),
    *("--threads", "1"),
)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Four positions of blobs (the stain) and their blurred, noisy shadow (the source), uint16."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for position in "abcd":
        blobs = gaussian_filter((random.random((160, 192)) > 0.995).astype("float32"), 3)
        blobs /= blobs.max()
        shadow = 1000 - 300 * gaussian_filter(blobs, 2) + random.normal(0, 4, blobs.shape)
        tifffile.imwrite(folder / f"{position}_stain.tif", (100 + 400 * blobs).astype("uint16"))
        tifffile.imwrite(folder / f"{position}_phase.tif", shadow.astype("uint16"))
    return folder


@pytest.fixture(scope="module")
def study(images, tmp_path_factory) -> Workspace:
    """A workspace in which every stage has run once, by command."""
    root = tmp_path_factory.mktemp("cli") / "study"
    run("new", root)
    place = ("-w", root)
    run("import", images, "--name", "cells", "--pattern", "{position}_{channel}.tif", *place)
    run("preprocess", "cells", *place)
    run(*TRAIN, *place)
    run("predict", "cells", "-e", "first", "--positions", "0/0/d", "--threads", "1", *place)
    run("evaluate", "first", "--threads", "1", *place)
    run("export", "first", *place)
    return Workspace.open(root)


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in (*arguments, "--progress", "none")]) == 0


def prediction(store: Path) -> np.ndarray:
    return open_dataset(store).position("0/0/d").read(["stain_prediction"])[0, 0]


def test_the_plate_holds_the_pixels_of_the_files(study, images):
    dataset = open_dataset(study.dataset("cells"))
    assert dataset.channels == ("phase", "stain")
    for key in "abcd":
        for channel in dataset.channels:
            stored = dataset.position(f"0/0/{key}").read([channel])[0, 0]
            np.testing.assert_array_equal(stored, tifffile.imread(images / f"{key}_{channel}.tif"))


def test_the_statistics_are_those_of_the_files(study, images):
    sampled = np.stack([tifffile.imread(images / f"{key}_phase.tif")[::8, ::8] for key in "abcd"])
    stored = open_dataset(study.dataset("cells")).attribute("normalization")["phase"]["dataset_statistics"]
    assert stored["mean"] == pytest.approx(sampled.mean(), rel=0.01)


def test_the_run_has_a_checkpoint_that_says_what_it_is(study):
    from napari_vstain.core.models.files.checkpoint import load_spec

    spec = load_spec(study.experiment("first").run().checkpoint)
    assert spec.sources == ("phase",)
    assert spec.targets == ("stain",)
    assert spec.training.positions.test == ("0/0/d",)


def test_the_prediction_is_in_the_units_of_the_stain_where_the_position_is(study):
    store = open_dataset(study.experiment("first").predictions())
    assert store.channels == ("stain_prediction",)
    assert list(store.positions) == ["0/0/d"]
    predicted = prediction(store.path)
    assert predicted.shape == (160, 192)
    assert predicted.dtype == np.float32
    assert np.isfinite(predicted).all()
    assert 50 < predicted.mean() < 600


def test_the_metrics_are_those_of_the_stored_pixels_beside_the_baseline(study, images):
    table = pd.read_csv(study.experiment("first").metrics)
    assert set(table["predictor"]) == {"model", "baseline"}
    assert set(table["position"]) == {"0/0/d"}
    assert set(table["split"]) == {"test"}
    truth = tifffile.imread(images / "d_stain.tif").astype(float)
    predicted = prediction(study.experiment("first").predictions())
    expected = np.corrcoef(truth.ravel(), predicted.ravel())[0, 1]
    said = table.query("predictor == 'model' and level == 'volume'")["pearson"].item()
    assert said == pytest.approx(expected, abs=1e-6)


def test_the_onnx_file_alone_says_what_it_is_and_predicts_the_same(study):
    import onnxruntime

    [path] = study.experiment("first").deployment.glob("*.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    spec = ModelSpec.model_validate_json(session.get_modelmeta().custom_metadata_map["vstain"])
    assert spec.targets == ("stain",)
    run(
        "predict",
        "cells",
        "--model",
        path,
        "--positions",
        "0/0/d",
        "-w",
        study.root,
        "--output",
        path.parent / "p.zarr",
    )
    torch_made, onnx_made = prediction(study.experiment("first").predictions()), prediction(path.parent / "p.zarr")
    shutil.rmtree(path.parent / "p.zarr")
    assert np.abs(torch_made - onnx_made).max() <= 1e-4 * torch_made.std()


def test_every_stage_saves_what_replays_it(study):
    saved = {path.name for path in study.root.rglob("*.yml")}
    stages = ("first_version_0", "import_config", "preprocess_config", "training_config0", "predictions", "metrics")
    assert saved >= {f"{stage}.yml" for stage in stages}


def test_replaying_gives_the_same_result(study, tmp_path):
    again = Workspace.create(tmp_path / "again")
    shutil.copytree(study.datasets, again.datasets, dirs_exist_ok=True)
    first = study.experiment("first")
    place = ("-w", again.root)
    run("train", "-c", first.run().config, *place)
    run("predict", "-c", first.evaluation / "predictions.yml", *place)
    run("evaluate", "-c", first.evaluation / "metrics.yml", *place)
    same = again.experiment("first")
    np.testing.assert_array_equal(prediction(same.predictions()), prediction(first.predictions()))
    pd.testing.assert_frame_equal(pd.read_csv(same.metrics), pd.read_csv(first.metrics))


def test_a_value_of_the_file_is_changed_by_set(study, tmp_path):
    again = Workspace.create(tmp_path / "again")
    shutil.copytree(study.datasets, again.datasets, dirs_exist_ok=True)
    config = study.experiment("first").run().config
    changes = ("experiment=second", "trainer.max_epochs=1")
    run("train", "-c", config, "--set", *changes, "-w", again.root)
    made = again.experiment("second").run()
    assert "max_epochs: 1" in made.config.read_text()
    losses = pd.read_csv(made.folder / "metrics.csv")
    assert losses["epoch"].max() == 0


def test_ctrl_c_keeps_what_was_learned_and_says_how_to_go_on(study, tmp_path):
    again = Workspace.create(tmp_path / "again")
    shutil.copytree(study.datasets, again.datasets, dirs_exist_ok=True)
    command = [sys.executable, "-m", "napari_vstain", *TRAIN, "--epochs", "10000", "-w", str(again.root)]
    with subprocess.Popen([*command, "--progress", "json"], stdout=subprocess.PIPE, text=True) as child:
        try:
            events = (json.loads(line) for line in child.stdout)
            while (event := next(events))["event"] != "produced" or event["values"]["step"] <= 8:
                pass
            child.send_signal(signal.SIGINT)
            rest = list(events)
            assert child.wait(60) == 130
        finally:
            child.kill()
    made = again.experiment("first").run()
    paths = [event["paths"] for event in rest if event["event"] == "result"]
    assert paths[0]["checkpoint"] == str(made.checkpoint)
    assert "vstain train --resume first/version_0" in rest[-1]["message"]
    run("predict", "cells", "-e", "first", "--positions", "0/0/d", "--threads", "1", "-w", again.root)
    assert np.isfinite(prediction(again.experiment("first").predictions())).all()


def test_a_checkpoint_that_is_not_ours(study, tmp_path, capsys):
    import torch

    files = {
        "text.ckpt": b"not a model",
        "empty.onnx": b"",
        "cut.ckpt": study.experiment("first").run().checkpoint.read_bytes()[:1000],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, tmp_path / "other.ckpt")
    for path in sorted(tmp_path.iterdir()):
        before = sorted(study.root.rglob("*"))
        assert main(["predict", "cells", "--model", str(path), "-w", str(study.root)]) == 1
        sentence = capsys.readouterr().err.splitlines()[-1]
        assert sentence.startswith("vstain: ")
        assert path.name in sentence
        assert "unexpected" not in sentence
        assert sorted(study.root.rglob("*")) == before


def test_a_channel_that_the_dataset_lacks_is_refused_before_a_run_is_made(study, capsys):
    command = ["train", "cells", "-e", "third", "--sources", "moon", "--targets", "stain", "-w", str(study.root)]
    assert main(command) == 1
    assert "'moon'" in capsys.readouterr().err.splitlines()[-1]
    assert "third" not in study.experiments()


def test_an_experiment_without_a_run(study, capsys):
    assert main(["predict", "cells", "-e", "nothing", "-w", str(study.root)]) == 1
    assert "no run yet" in capsys.readouterr().err.splitlines()[-1]
    assert not study.experiment("nothing").evaluation.exists()


def test_predictions_of_another_dataset_with_the_same_positions_are_kept_apart(study, images, tmp_path, capsys):
    for path in images.iterdir():
        pixels = tifffile.imread(path)
        tifffile.imwrite(tmp_path / path.name, pixels[::-1].copy())
    run("import", tmp_path, "--name", "flipped", "--pattern", "{position}_{channel}.tif", "-w", study.root)
    model = study.experiment("first").run().checkpoint
    command = ("--model", model, "--positions", "0/0/d", "--threads", "1", "-w", study.root)
    run("predict", "cells", *command, "--output", tmp_path / "p.zarr")
    before = prediction(tmp_path / "p.zarr")
    refused = main([str(word) for word in ("predict", "flipped", *command, "--output", tmp_path / "p.zarr")])
    assert refused == 1
    assert "holds predictions of" in capsys.readouterr().err
    np.testing.assert_array_equal(prediction(tmp_path / "p.zarr"), before)
    run("predict", "flipped", "--experiment", "first", *command[2:])
    name = study.dataset("flipped").stem
    assert not np.array_equal(prediction(study.experiment("first").predictions(dataset=name)), before)
    shutil.rmtree(study.dataset("flipped"))
