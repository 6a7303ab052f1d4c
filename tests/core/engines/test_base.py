"""What an engine may do besides running has a default: nobody asks whether it is there."""

import re
from pathlib import Path

import numpy as np

import napari_vstain
from napari_vstain.core.engines import Engine


class Plain(Engine):
    """The least that an engine is."""

    name, device, precision, reason = "plain", "CPU", "float32", ""

    def run(self, batch, token=None):
        return {"stain": batch}


def test_an_engine_that_only_runs_can_be_asked_for_all_else():
    engine = Plain()
    assert engine.trimmed((8, 8)) is None
    assert engine.footprint((1, 1, 32, 32)) is None
    assert engine.free_memory_bytes is None
    assert engine.run(np.zeros((1, 1, 4, 4)))["stain"].shape == (1, 1, 4, 4)


def test_nothing_in_prediction_looks_for_abilities_by_name():
    modules = (Path(napari_vstain.__file__).parent / "core" / "inference").rglob("*.py")
    assert not [
        module.name for module in modules if re.search(r"getattr\((self\.|predictor|engine)", module.read_text())
    ]
