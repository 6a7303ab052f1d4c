"""A model outlives the code: what any version wrote opens, and predicts the same numbers."""

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from napari_vstain import ModelSpec, TrainSettings, Workspace, open_dataset, predict, train
from napari_vstain.core.models.files.checkpoint import read_checkpoint
from napari_vstain.core.models.files.model_file import open_model
from napari_vstain.core.settings import load_config
from napari_vstain.core.training.parsing import build

WRITTEN = sorted(Path(__file__).parent.glob("schema_*"))
MOST_BYTES = 300_000
CHECKPOINT = "models/golden/lightning_logs/version_0/checkpoints/last.ckpt"
ONNX = "deployment/golden/golden.onnx"
ASKED = {"dataset": "2026_25_11_cells", "positions": ["A/1/2"], "threads": 1, "device": "cpu"}
RELATIVE = 1e-6
"""RMS of the difference over the standard deviation: another processor may round the last digit otherwise."""


@pytest.fixture(params=WRITTEN, ids=lambda folder: folder.name)
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace that an earlier version wrote."""
    shutil.copytree(request.param, tmp_path / "study")
    return Workspace.open(tmp_path / "study")


def test_golden_files_are_small() -> None:
    for folder in WRITTEN:
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < MOST_BYTES


def test_a_checkpoint_predicts_what_it_did(study: Workspace) -> None:
    asked = {**ASKED, "model": study.root / CHECKPOINT, "engine": "torch", "output": study.root / "again.zarr"}
    assert _apart(predict(asked, study).store, study, "checkpoint") < RELATIVE


def test_an_onnx_file_predicts_what_it_did(study: Workspace) -> None:
    asked = {**ASKED, "model": study.root / ONNX, "engine": "onnxruntime", "output": study.root / "again.zarr"}
    assert _apart(predict(asked, study).store, study, "onnx") < RELATIVE


@pytest.mark.parametrize("model", [{"experiment": "golden"}, {"experiment": "golden", "model": ONNX}])
def test_a_store_is_gone_on_with_and_nothing_is_computed_again(study: Workspace, model: dict[str, str]) -> None:
    store = study.experiment("golden").predictions()
    before = _pixels(store)
    given = {**model, "model": study.root / model["model"], "output": store} if "model" in model else model
    result = predict({**ASKED, **given, "engine": "torch" if "model" not in model else "auto"}, study)
    assert (result.store, result.megapixels, result.positions) == (store, 0, ("A/1/2",))
    assert result.warnings == ()  # it is like the training, as far as a record of before tells
    assert np.array_equal(_pixels(store), before)
    assert _apart(store, study, "checkpoint") == 0


def test_a_store_is_replayed_by_its_own_settings(study: Workspace) -> None:
    values = load_config(study.experiment("golden").evaluation / "predictions.yml")
    assert predict(values, study).megapixels == 0


def test_files_of_one_model_bear_one_fingerprint(study: Workspace) -> None:
    specs = [open_model(study.root / file).spec() for file in (CHECKPOINT, ONNX)]
    said = open_dataset(study.experiment("golden").predictions()).position("A/1/2").attribute("vstain")
    assert {spec.fingerprint for spec in specs} == {said["prediction"]["fingerprint"]}
    for spec in specs:
        assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_training_is_run_again_to_the_same_weights(study: Workspace) -> None:
    again = train(TrainSettings.load(study.experiment("golden").run().config), study)
    assert again.run.name == "version_1"
    made, before = (_weights(path) for path in (again.run.last, study.root / CHECKPOINT))
    assert made.keys() == before.keys()
    for name, value in before.items():
        torch.testing.assert_close(made[name], value, rtol=1e-4, atol=1e-5)
    config, plain = again.run.config.read_text(), (again.run.folder / "config.yaml").read_text()
    for text in (config, plain, read_checkpoint(again.run.last)["vstain"]):  # what is written now names what stays
        assert "napari_vstain.nn." in text and "napari_vstain.core" not in text


def test_a_training_is_gone_on_with(study: Workspace) -> None:
    settings = TrainSettings.load(study.experiment("golden").run().config, ["trainer.max_epochs=2", "resume=version_0"])
    result = train(settings, study)
    assert (result.run.name, result.epochs) == ("version_0", 2)


def test_a_training_file_for_lightning_alone_is_understood(study: Workspace) -> None:
    plain = load_config(study.experiment("golden").run().folder / "config.yaml")
    assert type(build(TrainSettings.parse({"experiment": "golden", **plain})).model).__name__ == "StainingModule"


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in read_checkpoint(path)["state_dict"].items()}


def _pixels(store: Path) -> npt.NDArray[np.float32]:
    return open_dataset(store).position("A/1/2").read(["Nuclei_prediction", "Membrane_prediction"])


def _apart(store: Path, study: Workspace, key: str) -> float:
    """Return how far predictions are from those that were written: the worst channel's relative RMS."""
    with np.load(study.root / "pixels.npz") as written:
        expected = written[key]
    difference = (_pixels(store) - expected).reshape(len(expected), -1)
    return float((np.sqrt((difference**2).mean(1)) / expected.reshape(len(expected), -1).std(1)).max())
