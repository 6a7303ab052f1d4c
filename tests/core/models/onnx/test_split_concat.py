"""Without joins a graph computes what it did, and copies less."""

import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from napari_vstain.core.models.files.onnx_file import trace_network
from napari_vstain.core.models.onnx.split_concat import without_joins

from ...engines.models import batch_of, lively, relative_rms, spec_of, unet


class Shared(nn.Module):
    """Gives one of its two joins to a layer that is no convolution."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Conv2d(2, n, 3, padding=1) for n in (1, 3, 2))
        self.mix = nn.Conv2d(6, 4, 3, padding=1)
        self.last = nn.Conv2d(10, 1, 1)

    def forward(self, x):
        joined = torch.cat([part(x) for part in self.parts], 1)
        return self.last(torch.cat([self.mix(joined), torch.sigmoid(joined)], 1))


class Three(nn.Module):
    """Joins three images."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Conv2d(2, n, 3, padding=1) for n in (1, 3, 2))
        self.mix = nn.Conv2d(6, 1, 3, padding=1, bias=False)

    def forward(self, x):
        return self.mix(torch.cat([part(x) for part in self.parts], 1))


NETWORKS = {"U-Net": (lambda: unet(features=(4, 8, 8)), 0), "three parts": (Three, 0), "a join that stays": (Shared, 1)}


def joins(content):
    return [node.op_type for node in onnx.load_model_from_string(content).graph.node].count("Concat")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sum_of_the_parts_is_the_convolution_of_the_whole(name):
    make, left = NETWORKS[name]
    network = lively(make())
    spec = spec_of(network)
    content = trace_network(network, spec).SerializeToString()
    made = without_joins(content)
    assert joins(content) > joins(made) == left
    batch = batch_of(spec)
    (found,), (expected,) = (ort.InferenceSession(graph).run(None, {"source": batch}) for graph in (made, content))
    assert relative_rms(found, expected) <= 1e-6


def test_a_network_without_joins_stays_as_it_is():
    network = nn.Conv2d(2, 1, 3, padding=1)
    content = trace_network(network, spec_of(network)).SerializeToString()
    assert onnx.load_model_from_string(without_joins(content)) == onnx.load_model_from_string(content)
