"""A network that cuts its halo away inside computes, for what a tile owns, the very same numbers."""

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from napari_vstain.core.engines import load_engine
from napari_vstain.core.models.files.onnx_file import trace_network
from napari_vstain.core.models.onnx.normalization import open_axes
from napari_vstain.core.models.onnx.trim_halo import trimmed

from ...engines.models import batch_of, lively, relative_rms, spec_of, two_heads, unet, volume, window
from ...inference.networks import TinyUNet

FILE_ENGINES = ("onnxruntime", "openvino")


def sizes(graph):
    """Return the pixels of every value inside a graph, for an input of 1 × 1 × … × 96 × 96."""
    made = type(graph)()
    made.CopyFrom(graph)
    shape = made.graph.input[0].type.tensor_type.shape
    for axis, dim in enumerate(shape.dim):
        dim.Clear()
        dim.dim_value = 96 if axis >= len(shape.dim) - 2 else 2 if axis == 1 else 1
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(made).graph
    return sum(int(np.prod([d.dim_value for d in value.type.tensor_type.shape.dim])) for value in inferred.value_info)


def check(whole, spec, batch):
    """Compare an engine that trims with the crop of one that does not; both see the same pixels."""
    inner = whole.trimmed(spec.halo[1:])
    assert inner is not None
    expected, found = whole.run(batch), inner.run(batch)
    assert list(found) == [output.task for output in spec.outputs]
    for output in spec.outputs:
        y, x = (round(halo * scale) for halo, scale in zip(spec.halo[1:], output.scale[1:], strict=True))
        crop = expected[output.task][..., y : -y or None, x : -x or None]
        assert found[output.task].shape == crop.shape
        assert relative_rms(found[output.task], crop) <= 1e-6


@pytest.mark.parametrize("engine", FILE_ENGINES)
@pytest.mark.parametrize("kind", ["2D", "2.5D", "3D", "two heads", "residual"])
def test_what_a_tile_owns_is_the_same(kind, engine):
    plain = {
        "2D": lambda: unet(features=(4, 8, 8)),
        "residual": lambda: unet(features=(4, 8), residual=True, skip="add"),
    }
    others = {"2.5D": window, "3D": volume, "two heads": two_heads}
    network, spec = others[kind]() if kind in others else (plain[kind](), None)
    spec = spec or spec_of(network)
    halo = spec.halo[1]
    check(load_engine(network, spec, engine=engine), spec, batch_of(spec, 1, 2 * halo + 64, 2 * halo + 48))


class Mixed(nn.Module):
    """Enlarging of every kind, strided convolutions, averages, dilation: what foreign networks are made of."""

    def __init__(self, enlarging, stride, dilated):
        super().__init__()
        reach = 2 if dilated else 1
        self.first = nn.Conv2d(2, 4, 5, padding=2)
        self.down = (
            nn.Conv2d(4, 6, 3, stride=2, padding=1) if stride else nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 6, 1))
        )
        self.deep = nn.Sequential(nn.Conv2d(6, 6, 3, padding=reach, dilation=reach), nn.BatchNorm2d(6), nn.PReLU(6))
        self.up = {
            "nearest": lambda: nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(6, 4, 3, padding=1)
            ),
            "bilinear": lambda: nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(6, 4, 3, padding=1)
            ),
            "transposed": lambda: nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1),
        }[enlarging]()
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        fine = torch.relu(self.first(x))
        return self.last(torch.cat((self.up(self.deep(self.down(fine))), fine), 1))


@cache
def mixed(*layers):
    network = lively(Mixed(*layers))
    spec = spec_of(network)
    return load_engine(network, spec, engine="onnxruntime"), spec


@given(
    layers=st.sampled_from([("nearest", False, True), ("bilinear", True, False), ("transposed", False, False)]),
    halo=st.integers(8, 20).map(lambda n: 2 * n), rows=st.integers(1, 12), columns=st.integers(1, 12),
)  # fmt: skip
def test_any_halo_may_be_cut_from_a_network_of_any_layers(layers, halo, rows, columns):
    engine, spec = mixed(*layers)
    spec = spec.model_copy(update={"halo": (0, halo, halo)})
    check(engine, spec, batch_of(spec, 1, 2 * (halo + rows), 2 * (halo + columns)))


def test_a_network_with_a_layer_that_is_not_known_is_left_as_it_is():
    network = TinyUNet(2, norm=True, depth=1)  # instance normalization sees the whole image
    spec = spec_of(network)
    assert load_engine(network, spec, engine="onnxruntime").trimmed(spec.halo[1:]) is None


class Attentive(nn.Module):
    """Weighs its channels by what they are on average, over the whole image."""

    def __init__(self):
        super().__init__()
        self.first, self.gate, self.last = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def forward(self, x):
        made = self.first(x)
        weight = torch.sigmoid(self.gate(made.mean((2, 3), keepdim=True)))
        return self.last(torch.cat([made * weight, made], 1))


def test_what_is_not_an_image_is_never_cut():
    network = Attentive().eval()
    spec = spec_of(nn.Conv2d(2, 1, 3, padding=1))
    assert trimmed(open_axes(trace_network(network, spec)), (8, 8)) is None


class Located(nn.Module):
    """Tells every pixel its row, as CoordConv does."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = (nn.Conv2d(n, 4, 3, padding=1) for n in (2, 9, 4))

    def forward(self, x):
        rows = torch.arange(x.shape[2], dtype=x.dtype)[None, None, :, None].expand(x.shape[0], 1, -1, x.shape[3])
        made = self.first(x)
        return self.last(self.middle(torch.cat([made, torch.relu(made), rows], 1)))


def test_what_is_as_large_as_the_image_without_being_one_is_never_joined_with_a_cut_one():
    network = Located().eval()
    spec = spec_of(nn.Conv2d(2, 1, 3, padding=1))
    assert trimmed(open_axes(trace_network(network, spec)), (8, 8)) is None


def test_less_is_computed_and_the_graph_is_valid():
    network = unet(features=(4, 8, 8))
    spec = spec_of(network)
    graph = open_axes(trace_network(network, spec))
    less = trimmed(graph, (24, 24))
    onnx.checker.check_model(less)
    assert sizes(less) < 0.75 * sizes(graph)


def test_there_is_nothing_to_gain_in_a_network_that_neither_joins_nor_enlarges():
    network = nn.Conv2d(2, 1, 3, padding=1).eval()
    assert trimmed(open_axes(trace_network(network, spec_of(network))), (8, 8)) is None


def test_without_a_halo_nothing_is_cut():
    network = unet(features=(4, 8))
    assert trimmed(open_axes(trace_network(network, spec_of(network))), (0, 0)) is None
