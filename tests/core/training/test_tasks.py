"""Several tasks, each with its own loss, are learned by one network; a head may give one slice of a stack."""

import math

import numpy as np
import pytest
import torch

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.inference import load_predictor
from napari_vstain.core.models.files.checkpoint import load_checkpoint
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.progress import Progress
from napari_vstain.core.training import TrainSettings, run

from .conftest import KEYS, Listener, changed, images, quick, write_plate

NETWORKS = """
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Conv2d(1, 4, 3, padding=1)
        self.stain, self.cells = nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1)

    def forward(self, source):
        features = torch.relu(self.shared(source))
        return {"stain": self.stain(features), "cells": self.cells(features)}


class Middle(nn.Module):
    "A window of three slices becomes one."

    def __init__(self):
        super().__init__()
        self.dimensions, self.z_window, self.in_channels = "2.5D", 3, 1
        self.layer = nn.Conv3d(1, 1, (3, 3, 3), padding=(0, 1, 1))

    def forward(self, source):
        return self.layer(source)


class Projected(nn.Module):
    "A stack of any depth becomes one slice."

    def __init__(self):
        super().__init__()
        self.dimensions, self.z_window, self.in_channels = "3D", 4, 1
        self.layer = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, source):
        return self.layer(source).amax(2, keepdim=True)
"""
BOTH = [
    {"head": {"task": "stain", "channels": ["Nuclei"]}, "loss": {"class_path": "torch.nn.L1Loss"}},
    {
        "head": {"task": "cells", "channels": ["Flat"], "kind": "mask", "activation": "sigmoid"},
        "loss": {"class_path": "torch.nn.BCEWithLogitsLoss"},
        "weight": 0.5,
    },
]


@pytest.fixture(autouse=True)
def own_networks(tmp_path, monkeypatch):
    (tmp_path / "lab_tasks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("VSTAIN_CONFIG", str(tmp_path / "settings"))


def with_network(settings, name):
    return changed(settings, "model.init_args.network", {"class_path": f"lab_tasks.{name}"})


def flat_tasks(flatten):
    head = {"task": "stain", "channels": ["Nuclei"], "scale": [0, 1, 1]}
    return [{"head": head, "truth": {"flatten": flatten}}]


@pytest.fixture
def labelled(workspace):
    """A plate whose channel Flat is a mask of the bright pixels."""
    pixels = {key: images(index) for index, key in enumerate(KEYS)}
    for image in pixels.values():
        image[:, 2] = image[:, 1] > np.median(image[:, 1])
    write_plate(workspace.datasets / "2026_01_01_labelled.zarr", pixels)
    return workspace


def test_two_tasks_with_two_losses_are_learned_chosen_predicted_and_exported(labelled, tmp_path):
    settings = quick(dataset="labelled", targets=["Nuclei", "Flat"], epochs=3, batches_per_epoch=10, learning_rate=0.02)
    settings = changed(with_network(settings, "Two"), "model.init_args.tasks", BOTH)
    settings = changed(settings, "monitor", "loss/validate/cells")
    listener = Listener()
    result = run(settings, labelled, listener.progress)
    batches = [item for item in listener.items if item.of_batch]
    epochs = [item for item in listener.items if not item.of_batch]
    for said in batches:
        values = said.values
        total = values["loss/train/stain_step"] + 0.5 * values["loss/train/cells_step"]
        assert values["loss/train_step"] == pytest.approx(total, rel=1e-5)
    names = {"loss/train_epoch", "loss/validate", "pearson/stain/Nuclei", "lr"}
    names |= {f"loss/{part}" for part in ("train/stain_epoch", "train/cells_epoch", "validate/stain", "validate/cells")}
    assert all(said.values.keys() == names for said in epochs)
    assert epochs[-1].values["loss/train_epoch"] < epochs[0].values["loss/train_epoch"]
    assert [head.task for head in result.spec.outputs] == ["stain", "cells"]
    assert (result.spec.outputs[1].kind, result.spec.outputs[1].activation) == ("mask", "sigmoid")
    assert set(result.spec.statistics) == {"Phase", "Nuclei"}
    spec, network = load_checkpoint(result.checkpoint)
    image = images(0)[0, :1, 0, :24, :24]
    made = load_predictor(result.checkpoint, engine="torch", device="cpu", threads=1).predict(image)
    assert 0 < made["cells"].min() < made["cells"].max() < 1
    onnx = export_onnx(network, spec, tmp_path / "two.onnx")
    again = load_predictor(onnx, engine="onnxruntime", device="cpu", threads=1).predict(image)
    np.testing.assert_allclose(again["cells"], made["cells"], atol=1e-4)
    saved = TrainSettings.load(result.run.config)
    assert run(changed(saved, "trainer.max_epochs", 3), labelled, Progress()).spec.weights == result.spec.weights


@pytest.mark.parametrize(("name", "flatten", "size"), [("Middle", "middle", 3), ("Projected", "max", 4)])
def test_a_window_that_gives_one_slice_and_a_stack_that_is_projected_are_learned(workspace, name, flatten, size):
    deep = {key: images(index, (1, 4, 24, 24)) for index, key in enumerate(KEYS)}
    write_plate(workspace.datasets / "2026_01_01_deep.zarr", deep)
    settings = with_network(quick(dataset="deep", epochs=2), name)
    settings = changed(settings, "model.init_args.tasks", flat_tasks(flatten))
    settings = changed(settings, "data.init_args.patches.z_window", size)
    settings = changed(settings, "data.init_args.patches.margin_px", 2)
    listener = Listener()
    result = run(settings, workspace, listener.progress)
    assert all(math.isfinite(item.values["loss/train_step"]) for item in listener.items if item.of_batch)
    spec, network = load_checkpoint(result.checkpoint)
    assert spec.outputs[0].scale == (0, 1, 1)
    assert network(torch.zeros(1, 1, size, 8, 8)).shape == (1, 1, 1, 8, 8)
    predictor = load_predictor(result.checkpoint, engine="torch", device="cpu", threads=1)
    assert predictor.predict(images(0, (1, 4, 24, 24))[0, :1])["stain"].shape[-2:] == (24, 24)


MISTAKES = {
    "one output for two tasks": (BOTH, "UNet", "returns one output for the tasks stain, cells"),
    "two tasks of one name": ([BOTH[0], BOTH[0]], "Two", "is the name of two tasks"),
    "no such target": ([{"head": {"task": "a", "channels": ["DIC"]}}], "UNet", "learns DIC, which is none of"),
    "no such loss": ([{**BOTH[0], "loss": {"class_path": "torch.nn.NoLoss"}}], "Two", "NoLoss"),
    "no such setting": ([{**BOTH[0], "wait": 1}], "Two", "wait: is no setting"),
    "a scale that no target has": (
        [{"head": {"task": "a", "channels": ["Nuclei"], "scale": [1, 0.5, 0.5]}}], "UNet", "no targets of scale",
    ),
    "a mask that is normalized": (
        [{"head": {**BOTH[1]["head"], "normalization": {}}}], "UNet", "is no intensity",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tasks", "network", "message"), MISTAKES.values(), ids=MISTAKES)
def test_tasks_that_cannot_be_are_one_sentence(labelled, tasks, network, message):
    settings = changed(quick(dataset="labelled", targets=["Nuclei", "Flat"]), "model.init_args.tasks", tasks)
    settings = with_network(settings, network) if network != "UNet" else settings
    with pytest.raises(SettingsError, match=message):
        run(settings, labelled, Progress())
    assert not list((labelled.root / "models").rglob("*.ckpt"))
