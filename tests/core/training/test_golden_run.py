"""What a seed gave once it gives ever after: the losses and the weights of four small trainings."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import uniform_filter

from napari_vstain.core.data import create_plate
from napari_vstain.core.models.files.checkpoint import load_checkpoint
from napari_vstain.core.progress import Progress
from napari_vstain.core.training import TrainSettings, run
from napari_vstain.core.workspace import Workspace

GOLDEN = Path(__file__).parent / "golden_run.json"
"""Recorded at commit 6846c36, with one network, one loss and one output."""
KEYS = ("A/1/0", "A/1/1", "A/1/2")
PATCHES = {"size_px": 16, "batch_size": 2, "batches_per_epoch": 3}
CASES = {
    "one slice, a margin, two stains": ({**PATCHES, "margin_px": 2}, {}, ["Nuclei", "Membrane"]),
    "pixels that are not known": ({**PATCHES, "batches_per_epoch": 8}, {}, ["Broken"]),
    "a window of slices": (
        {**PATCHES, "z_window": 3}, {"network": {"init_args": {"dimensions": "2.5D", "z_window": 3}}}, ["Nuclei"],
    ),
    "a loss, an optimizer and a schedule by name": (
        PATCHES,
        {
            "loss": {"class_path": "torch.nn.SmoothL1Loss", "init_args": {"beta": 0.5}},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05, "momentum": 0.9}},
            "schedule": {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1}},
        },
        ["Membrane"],
    ),
}  # fmt: skip


def write_plate(path):
    """Write three positions of two times and four slices: a source, two blurs of it, and one that has no number."""
    with create_plate(path, ["Phase", "Nuclei", "Membrane", "Broken"]) as plate:
        for seed, key in enumerate(KEYS):
            source = np.random.default_rng(seed).normal(100, 10, (1, 4, 40, 48))
            blurs = [uniform_filter(source, (0, 0, size, size)) for size in (3, 5)]
            pixels = np.stack([source, blurs[0] * 50 + 300, 900 - 20 * blurs[1], blurs[0]], axis=1).astype(np.float32)
            pixels[:, 3, :, :20, ::3] = np.nan
            plate.add_position(key, pixels.shape, pixels.dtype, (1, 0.5, 0.5))[...] = pixels


def trained(root, name):
    """Return what a training of two epochs made: the losses that it logged, and numbers of every weight."""
    patches, model, targets = CASES[name]
    workspace = Workspace.create(root)
    write_plate(workspace.datasets / "plate.zarr")
    settings = TrainSettings.quick(
        "golden", "plate", ["Phase"], targets, train=KEYS[:1], validate=KEYS[1:2], test=KEYS[2:], epochs=2,
        features=[2, 4], learning_rate=0.01, threads=1,
    ).model_dump()  # fmt: skip
    settings["data"]["init_args"]["patches"] = patches
    arguments = settings["model"]["init_args"]
    arguments["network"]["init_args"] |= model.get("network", {}).get("init_args", {})
    settings["model"]["init_args"] = arguments | {key: value for key, value in model.items() if key != "network"}
    result = run(TrainSettings.parse(settings), workspace, Progress())
    log = pd.read_csv(result.run.folder / "metrics.csv").groupby("epoch").last()
    losses = {column: log[column].tolist() for column in ("loss/train_epoch", "loss/validate")}
    pearson = {name: log[name].tolist() for name in log.columns if name.startswith("pearson/")}
    _, network = load_checkpoint(result.run.last)
    weights = {
        key: [float(value.double().sum()), float(value.double().square().sum())]
        for key, value in network.state_dict().items()
    }
    return {"logged": losses | pearson, "weights": weights}


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_weights_of_before(tmp_path, name):
    golden, made = json.loads(GOLDEN.read_text())[name], trained(tmp_path / "workspace", name)
    assert made.keys() == golden.keys()
    for part in golden:
        assert made[part].keys() == golden[part].keys()
        for key, numbers in golden[part].items():
            assert made[part][key] == pytest.approx(numbers, rel=1e-4, abs=1e-4), f"{part} {key}"
