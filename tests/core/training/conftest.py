"""A tiny plate whose target is a local mean of its source, and a network that learns it in seconds."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from napari_vstain.core.data import create_plate
from napari_vstain.core.progress import Progress
from napari_vstain.core.training import TrainSettings
from napari_vstain.core.workspace import Workspace

KEYS = ("A/1/0", "A/1/1", "A/1/2")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(seed, shape=(1, 1, 48, 64)):
    """Return (T, C, Z, Y, X) pixels of the channels Phase, Nuclei and Flat."""
    source = np.random.default_rng(seed).normal(100, 10, shape)
    target = uniform_filter(source, (0, 0, 3, 3)) * 50 + 300
    return np.stack([source, target, np.full(shape, 7.0)], axis=1).astype(np.float32)


def write_plate(path, pixels):
    with create_plate(path, ["Phase", "Nuclei", "Flat"]) as plate:
        for key, image in pixels.items():
            plate.add_position(key, image.shape, image.dtype, (1, 0.5, 0.5))[...] = image
    return path


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "workspace")
    write_plate(made.datasets / "2026_01_01_plate.zarr", {key: images(index) for index, key in enumerate(KEYS)})
    return made


def quick(experiment="first", **changes):
    """Return the settings of a training of a second."""
    values = {
        "train": [KEYS[0]], "validate": [KEYS[1]], "test": [KEYS[2]], "epochs": 2, "patch_px": 16, "batch_size": 2,
        "batches_per_epoch": 3, "features": [2, 4], "sources": ["Phase"], "targets": ["Nuclei"], "dataset": "plate",
    }  # fmt: skip
    return TrainSettings.quick(experiment, **(values | changes))


def changed(settings, path, value):
    """Return settings with one value replaced, its keys joined by dots."""
    values = settings.model_dump()
    *parents, last = path.split(".")
    inner = values
    for key in parents:
        inner = inner.setdefault(key, {})
    inner[last] = value
    return TrainSettings.parse(values)


class Listener:
    """Remembers what a stage says, and may stop it."""

    def __init__(self, stop_when=None):
        self.reports, self.items = [], []
        self.stop_when = stop_when
        self.progress = Progress(sink=self)

    def reported(self, report):
        self.reports.append(report)

    def produced(self, item):
        self.items.append(item)
        if self.stop_when and self.stop_when(item):
            self.progress.token.cancel()
