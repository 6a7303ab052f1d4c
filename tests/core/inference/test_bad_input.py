"""Images and disks that are not as they should be: predicted as far as can be, or refused in one sentence."""

import subprocess

import numpy as np
import pytest
import zarr

from napari_vstain.cli import main
from napari_vstain.core.data import open_dataset, recorded
from napari_vstain.core.errors import ChannelError, ModelError, StorageError, VstainError
from napari_vstain.core.inference import PredictSettings, load_predictor, run
from napari_vstain.core.progress import Progress

from ..models.files.test_model_notes import onnx_file
from .networks import TinyUNet, noise, relative_rms
from .plates import KEYS, Counting, predictor_of, workspace_with

__all__ = ["onnx_file"]


def predicted(workspace, **more):
    settings = PredictSettings(**{"dataset": "noise", "experiment": "test", **more})
    return run(settings, workspace, Progress(), predictor=predictor_of())


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (300, 1), (3, 2), (17, 33)])
def test_an_image_smaller_than_a_tile_or_the_stride_is_predicted_from_store_to_store(tmp_path, size):
    workspace = workspace_with(tmp_path / "work", keys=KEYS[:1], shape=(1, 2, 1, *size))
    result = predicted(workspace)
    position = open_dataset(result.store).position(KEYS[0])
    stored = position.read(["stain0_prediction"])
    source = open_dataset(workspace.dataset("noise")).position(KEYS[0]).read(["Phase"])
    np.testing.assert_allclose(stored, predictor_of().predict(source)["stain"], rtol=0, atol=1e-5)
    assert np.isfinite(stored).all()
    assert recorded(position, "prediction")["complete"] is True


def test_pixels_that_are_nan_or_infinite_are_reported_at_the_command_line(tmp_path, onnx_file, monkeypatch, capsys):
    workspace = workspace_with(tmp_path / "work", keys=KEYS, shape=(1, 2, 1, 60, 50))
    dataset = open_dataset(workspace.dataset("noise"))
    zarr.open_array(dataset.position(KEYS[0]).folder / "0", mode="r+")[0, 1, 0, 5, :3] = [np.nan, np.inf, -np.inf]
    zarr.open_array(dataset.position(KEYS[1]).folder / "0", mode="r+")[:] = np.nan
    monkeypatch.chdir(workspace.root)
    named = ["--model-info.sources", "Phase", "--model-info.targets", "a", "b", "--engine", "onnxruntime"]
    output = ["--output", str(tmp_path / "out.zarr"), "--device", "cpu", "--threads", "1"]
    assert main(["predict", "noise", "--model", str(onnx_file), *named, *output]) == 0
    said = capsys.readouterr().err
    assert "Careful: A/1/0: 3 pixels are NaN or infinite in a source" in said
    assert "Careful: B/3/0: 3000 pixels are NaN or infinite in a source" in said
    first, second = (open_dataset(tmp_path / "out.zarr").position(key).image().compute() for key in KEYS)
    assert np.isnan(first).sum() == 3 * 2
    assert np.isnan(first[0, :, 0, 5, :3]).all()
    assert np.isnan(second).all()


def test_a_plate_without_the_models_channels_is_refused_and_nothing_is_written(tmp_path):
    workspace = workspace_with(tmp_path / "work", keys=KEYS[:1], shape=(1, 2, 1, 60, 50))
    predictor = predictor_of()
    predictor.runner.spec = predictor.spec.model_copy(update={"sources": ("Phase", "DIC")})
    with pytest.raises(ChannelError, match=r"DIC.*A/1/0 has Extra, Phase; choose one of these"):
        run(PredictSettings(dataset="noise", experiment="test"), workspace, Progress(), predictor=predictor)
    assert not workspace.experiment("test").evaluation.exists()


def test_an_array_of_other_channels_than_the_model_takes_is_refused():
    with pytest.raises(ChannelError, match="number of source channels 2: the model takes 1: Phase"):
        predictor_of().predict(noise((2, 40, 40)))


@pytest.mark.parametrize("name", ["model.ckpt", "model.onnx", "model", "model.pt"])
@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 40, b"PK\x03\x04" + bytes(500)])
def test_a_file_that_is_no_model_is_one_sentence(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=name):
        load_predictor(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_onnx_file_of_another_maker_is_one_sentence(onnx_file, part):
    from napari_vstain.core.inference import ModelNotes

    content = onnx_file.read_bytes()
    onnx_file.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(VstainError, match=r"theirs\.onnx"):
        load_predictor(onnx_file, notes=ModelNotes(sources=("Phase",), targets=("a", "b")))


def test_a_model_that_is_not_there_is_one_sentence(tmp_path):
    for name in ("none.ckpt", "none.onnx"):
        with pytest.raises(ModelError, match=name):
            load_predictor(tmp_path / name)


def resize(disk, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def test_a_disk_that_is_full_midway_keeps_what_was_done_and_the_same_command_goes_on(tmp_path, small_disk):
    resize(small_disk, "6m")
    workspace = workspace_with(tmp_path / "work", keys=KEYS[:1])
    output = small_disk / "predictions.zarr"
    asked = PredictSettings(dataset="noise", experiment="test", tile_px=512, output=output)
    engines = [Counting(TinyUNet(depth=1)) for _ in range(2)]
    first, second = predictor_of(), predictor_of()
    first.runner.engine, second.runner.engine = engines
    with pytest.raises(StorageError, match="the disk is full"):
        run(asked, workspace, Progress(), predictor=first)
    position = open_dataset(output).position(KEYS[0])
    assert recorded(position, "prediction")["complete"] is False
    resize(small_disk, "64m")
    run(asked, workspace, Progress(), predictor=second)
    assert 0 < len(engines[1].runs) < 24
    assert 24 <= len(engines[0].runs) + len(engines[1].runs) <= 24 + 4  # one is written, AHEAD wait, one is computed
    source = open_dataset(workspace.dataset("noise")).position(KEYS[0])
    for t in range(2):
        stored = open_dataset(output).position(KEYS[0]).read(["stain0_prediction"], t=t)
        assert relative_rms(stored, predictor_of().predict(source.read(["Phase"], t=t))["stain"]) <= 1e-6
