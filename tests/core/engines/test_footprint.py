"""What a network holds for each pixel is counted: so the whole image is run where it fits, not where a guess allows."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_vstain.core.engines.footprint import graph_footprint, network_footprint
from napari_vstain.core.engines.torch_engine import TorchEngine
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.tile_budget import BYTES_PER_PIXEL

from ..inference.graphs import Graph
from ..inference.networks import TinyUNet, spec_of


def test_a_chain_holds_what_a_layer_takes_and_gives(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 1, 1))
    assert network_footprint(network, (1, 1, 64, 64)) == pytest.approx(4 * (1 + 8 + 16))
    graph = Graph()
    graph.conv(graph.conv(graph.conv("picture", out=8), channels=8, out=16), channels=16, size=1)
    path = graph.save(tmp_path / "chain.onnx")
    assert graph_footprint(path.read_bytes(), (1, 1, 64, 64)) == pytest.approx(4 * (8 + 16))


def test_what_is_joined_later_is_held_until_then():
    network = TinyUNet(depth=2, width=4)
    assert network_footprint(network, (1, 1, 64, 64)) >= 4 * (4 + 4 + 8)


def test_a_network_that_needs_little_runs_larger_images_whole():
    spec = spec_of(1, units=(0, 1), tile_exact=False)
    predictor = Predictor(TorchEngine(TinyUNet(depth=1, norm=True), ("stain",), (1, 1, 32, 32), threads=1), spec)
    # The common guess would take seven times as much as there is.
    predictor.runner.measured.budget_px = 900 * 900 * 300 // BYTES_PER_PIXEL
    assert len(predictor.plan((1, 880, 850), 256)) == 1
    assert len(predictor.plan((1, 4000, 4000), 256)) > 1
    image = np.random.default_rng(0).normal(100, 20, (1, 880, 850)).astype(np.float32)
    assert torch.isfinite(torch.from_numpy(predictor.predict(image, 256)["stain"])).all()
