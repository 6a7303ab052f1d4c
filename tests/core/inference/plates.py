"""Small plates of noise, and models that predict them, for the tests of stage 3."""

import numpy as np

from napari_vstain.core.data import create_plate
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.progress import CancelToken
from napari_vstain.core.workspace import Workspace

from .networks import TinyUNet, TorchEngine, noise, spec_of

KEYS = ("A/1/0", "B/3/0")
SHAPE = (2, 2, 2, 600, 1100)
"""TCZYX; each plane takes 2 × 3 blocks."""


def plate(path, keys=KEYS, shape=SHAPE, seed=0):
    """Write a plate whose channels are Phase and Extra, and return its path."""
    with create_plate(path, ["Extra", "Phase"]) as writer:
        for index, key in enumerate(keys):
            array = writer.add_position(key, shape, np.float32, (2.0, 0.5, 0.25), (1.0, 2.0, 3.0))
            array[:] = noise(shape, seed + index)
    return path


def workspace_with(folder, **more):
    """Return a workspace with one dataset, ``noise``."""
    workspace = Workspace.create(folder)
    plate(workspace.new_dataset("noise"), **more)
    return workspace


def predictor_of(fits=None, network=None, **more):
    """Return a predictor of one stain from the channel Phase."""
    spec = spec_of(1, units=(0, 1), **more)
    spec = spec.model_copy(
        update={"sources": ("Phase",), "statistics": {**spec.statistics, "Phase": spec.statistics["source0"]}}
    )
    return Predictor(TorchEngine(network or TinyUNet(depth=1), fits=fits), spec)


class Counting(TorchEngine):
    """An engine that counts its batches, and may stop or fail at one of them."""

    def __init__(self, network, at=None, then=None):
        super().__init__(network)
        self.at, self.then = at, then

    def run(self, batch, token: CancelToken | None = None):
        if self.at is not None and len(self.runs) == self.at:
            self.then(token)
        return super().run(batch, token)
