"""The torch engine folds what it may, keeps what it must, and compiles on request."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from napari_vstain.core.engines import load_engine
from napari_vstain.core.engines.fold_batchnorm import folded
from napari_vstain.core.engines.torch_engine import TorchEngine
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.tile_budget import pixels_at_once
from napari_vstain.core.models.spec import ModelSpec, OutputSpec

from .models import batch_of, eager, flat, lively, relative_rms, spec_of


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_folding_leaves_no_batch_normalization_of_a_unet_and_the_same_numbers():
    network, spec = flat()
    batch = batch_of(spec)
    quick = folded(network)
    assert norms(network) == 6
    assert norms(quick) == 0
    assert relative_rms(eager(quick, batch, spec)["stain"], eager(network, batch, spec)["stain"]) <= 1e-6


def test_batch_normalization_that_does_not_follow_a_convolution_stays():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    assert norms(folded(lively(network))) == 2


def test_folding_that_would_change_the_prediction_is_not_used():
    class Twice(nn.Module):
        """Calls its layers in another order than it lists them."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers[0](self.layers[1](x))

    network = lively(Twice())
    spec = spec_of(flat()[0])
    batch = batch_of(spec)
    found = load_engine(network, spec, engine="torch").run(batch)["stain"]
    assert relative_rms(found, eager(network, batch, spec)["stain"]) <= 1e-6


def test_float32_on_a_processor_is_not_autocast_and_gradients_are_off():
    network, spec = flat()
    found = load_engine(network, spec, engine="torch").run(batch_of(spec))["stain"]
    assert found.dtype == np.float32
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the processor")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, while it compiles
def test_a_compiled_network_computes_the_same():
    network, spec = flat()
    engine = load_engine(network, spec, engine="torch", compiled=True)
    for batch in (batch_of(spec), batch_of(spec, 1, 96, 80)):
        assert relative_rms(engine.run(batch)["stain"], eager(network, batch, spec)["stain"]) <= 1e-5


def test_a_gpu_says_what_memory_is_free_and_the_processor_leaves_it_to_the_system(monkeypatch):
    engine = TorchEngine(nn.Conv2d(1, 1, 1), ("stain",), (1, 1, 8, 8))
    assert engine.free_memory_bytes is None
    engine._device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 << 30, 8 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 << 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 20)
    assert engine.free_memory_bytes == (3 << 30) + (4 << 20)
    spec = ModelSpec(sources=("a",), outputs=(OutputSpec(channels=("b",)),))
    assert Predictor(engine, spec, augment="mean").runner.pixels_at_once == pixels_at_once((3 << 30) + (4 << 20))

    def broken(device):
        raise RuntimeError("CUDA error: no device")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert engine.free_memory_bytes is None
