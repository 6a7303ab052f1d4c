"""An enlargement and the convolution behind it, composed, compute what the two did."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from napari_vstain.core.models.files.onnx_file import trace_network
from napari_vstain.core.models.onnx.fuse_upsample_conv import composed
from napari_vstain.core.models.onnx.split_concat import without_joins

from ...engines.models import batch_of, relative_rms, spec_of, unet


def content_of(network):
    return trace_network(network, spec_of(network)).SerializeToString()


def operators(content):
    return [node.op_type for node in onnx.load_model_from_string(content).graph.node]


def same(found, expected, batch):
    results = [ort.InferenceSession(graph).run(None, {"source": batch})[0] for graph in (found, expected)]
    assert results[0].shape == results[1].shape
    assert relative_rms(*results) <= 1e-6


@pytest.mark.parametrize("skip", ["concat", "add"])
def test_every_enlargement_of_a_unet_goes_into_the_convolution_that_reads_it_alone(skip):
    network = unet(features=(4, 8, 8), skip=skip)
    joined = without_joins(content_of(network))
    made = composed(joined)
    convolutions = operators(joined).count("Conv") - operators(made).count("Conv")
    assert convolutions == (2 if skip == "concat" else 0)  # what is added first is not read by a convolution alone
    assert operators(made).count("ConvTranspose") == operators(joined).count("ConvTranspose") == 2
    same(made, joined, batch_of(spec_of(network)))


def chain(channels, stride, taps, *, bias=(False, False), kernel=None, pads=None, groups=1, step=1, twice=False):
    """Return a graph of an enlargement and a convolution, of random weights."""
    first, middle, last = channels
    random = np.random.default_rng(0)
    kernel, pads = kernel or stride, (taps - 1) // 2 if pads is None else pads
    weights = {
        "K": random.standard_normal((first, middle // groups, kernel, kernel)),
        "W": random.standard_normal((last, middle, taps, taps)),
        "b": random.standard_normal(middle),
        "c": random.standard_normal(last),
    }
    overlap = (kernel - stride) // 2
    up = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [overlap] * 4, "group": groups}
    nodes = [
        helper.make_node("ConvTranspose", ["source", "K", *["b"] * bias[0]], ["up"], **up),
        helper.make_node("Conv", ["up", "W", *["c"] * bias[1]], ["made"], pads=[pads] * 4, strides=[step] * 2),
        *([helper.make_node("Relu", ["up"], ["other"])] if twice else []),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("made", *["other"] * twice)]
    source = helper.make_tensor_value_info("source", TensorProto.FLOAT, ["b", first, "y", "x"])
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "chain", [source], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@given(
    channels=st.tuples(st.integers(1, 5), st.integers(4, 9), st.integers(1, 5)), stride=st.integers(1, 3),
    reach=st.integers(0, 2), bias=st.booleans(),
)  # fmt: skip
def test_any_two_that_pay_are_composed_and_agree_up_to_the_border(channels, stride, reach, bias):
    first, middle, last = channels
    graph = chain(channels, stride, 2 * reach + 1, bias=(False, bias))
    made = composed(graph)
    taps = (stride + 2 * reach) ** 2 / stride**2
    pays = taps * first * last < first * middle + (2 * reach + 1) ** 2 * middle * last
    assert operators(made).count("Conv") == (0 if pays else 1)
    same(made, graph, np.random.default_rng(1).standard_normal((2, first, 7, 9), dtype=np.float32))


WRONG = {
    "overlapping": {"kernel": 4},
    "grouped": {"groups": 2},
    "biased in between": {"bias": (True, False)},
    "strided": {"step": 2},
    "unpadded": {"pads": 0},
    "read twice": {"twice": True},
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_would_not_be_the_same_is_left_alone(kind):
    assert operators(composed(chain((2, 8, 2), 2, 3))) == ["ConvTranspose"]
    graph = chain((2, 8, 2), 2, 3, **WRONG[kind])
    ort.InferenceSession(graph)
    assert operators(composed(graph)) == operators(graph)
