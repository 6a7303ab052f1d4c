"""A model made elsewhere predicts at any size what it predicts where it comes from, or says by how much it does not."""

import threading
import time

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from napari_vstain.core.data import open_dataset
from napari_vstain.core.errors import ModelError
from napari_vstain.core.inference import ModelNotes, PredictSettings, load_predictor, run
from napari_vstain.core.models.files.third_party import third_party_spec
from napari_vstain.core.progress import Cancelled, CancelToken, Progress
from napari_vstain.core.workspace import Workspace

from .graphs import Graph, theirs
from .networks import relative_rms
from .plates import plate


def load(path, **more):
    known = ModelNotes(sources=("Phase",), targets=("Nuclei",))
    return load_predictor(path, notes=known, engine="onnxruntime", device="cpu", threads=1, **more)


def picture(*size, seed=0):
    """Return an image, (1, Y, X), of a few bright things: what opens branches that noise leaves shut."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((1, *size)).astype(np.float32)
    for y, x in zip(rng.integers(0, size[0], 6), rng.integers(0, size[1], 6), strict=True):
        image[0, y : y + 7, x : x + 7] += 300
    return image


def hidden_branch(path):
    """A convolution of dilation 24 behind a ReLU with a negative bias: on noise it is always shut."""
    graph = Graph()
    near = graph.conv("picture")
    far = graph.node("Relu", graph.conv(near, dilation=24, bias=-60.0))
    graph.node("Add", near, far)
    return graph.save(path)


def test_a_branch_that_noise_never_opens_is_in_the_halo(tmp_path):
    path = hidden_branch(tmp_path / "hidden.onnx")
    predictor = load(path)
    assert predictor.spec.halo == (0, 25, 25)
    image = picture(300, 280)
    expected = theirs(path, image)
    assert np.abs(expected - theirs(path, picture(300, 280) * 0)).max() > 0
    for px in (64, 512):
        assert relative_rms(predictor.predict(image, px)["stain"], expected) <= 1e-6


@st.composite
def plans_of_graphs(draw):
    """Return what random graphs are built of: dilated, strided, pooled and enlarged layers, with side branches."""
    plan, downs = [], []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "branch", "down", "up"]))
        if kind == "conv":
            plan.append(("conv", draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 4))))
        elif kind == "branch":
            plan.append(("branch", draw(st.integers(2, 9)), draw(st.floats(-40, 0))))
        elif kind == "down" and np.prod(downs, initial=1) <= 3:
            factor = draw(st.sampled_from([2, 3, 5]))
            downs.append(factor)
            plan.append(("down", factor, draw(st.sampled_from(["MaxPool", "AveragePool", "conv"]))))
        elif kind == "up" and downs:
            plan.append(("up", downs.pop(), draw(st.sampled_from(["nearest", "transposed"]))))
    return plan + [("up", factor, "nearest") for factor in reversed(downs)]


def built(plan, positive, seed=0):
    graph = Graph(seed, positive)
    graph.node("Identity", "picture")
    for kind, size, more in plan:
        before = graph.last
        if kind == "conv":
            graph.conv(before, size=size, dilation=more)
        elif kind == "branch":
            graph.node("Add", before, graph.node("Relu", graph.conv(before, dilation=size, bias=more)))
        elif kind == "up":
            graph.enlarge(before, size, more)
        elif more == "conv":
            graph.conv(before, size=size + 1, stride=size, padding=size // 2)
        else:
            graph.pool(before, size, more)
    graph.node("Relu", graph.last)
    return graph


def reach_of(path, halo, stride, side):
    """Return how far a change of one pixel is seen along Y, in pixels, over all phases of the stride."""
    image = np.random.default_rng(1).uniform(1, 2, (1, side, stride[2] * 2)).astype(np.float32)
    before, furthest = theirs(path, image), 0
    for phase in range(stride[1]):
        changed = image.copy()
        middle = side // 2 // stride[1] * stride[1] + phase
        changed[0, middle] += 50
        seen = np.flatnonzero(np.abs(theirs(path, changed) - before).max(axis=(0, 2)))
        furthest = max(furthest, *(np.abs(seen - middle) if len(seen) else [0]))
    return furthest


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans_of_graphs(), rest=st.tuples(st.integers(0, 9), st.integers(0, 9)), seed=st.integers(0, 99))
def test_the_halo_of_a_graph_is_no_less_than_its_reach_and_tiles_equal_the_whole(tmp_path, plan, rest, seed):
    path = built(plan, positive=False, seed=seed).save(tmp_path / "graph.onnx")
    spec = third_party_spec(path, ["Phase"], ["Nuclei"])
    assert spec.training.reach == "computed from the graph"
    assert spec.tile_exact
    # The same layers with weights that let everything through show how far a change can be seen.
    open_to_all = built(plan, positive=True, seed=seed).save(tmp_path / "open.onnx")
    side = (2 * spec.halo[1] // spec.stride[1] + 4) * spec.stride[1]
    assert reach_of(open_to_all, spec.halo, spec.stride, side) <= spec.halo[1]
    predictor = load_predictor(path, spec=spec, engine="onnxruntime", device="cpu", threads=1)
    image = picture(150 + rest[0], 120 + rest[1], seed=seed)
    whole, tiled = (predictor.predict(image, px)["stain"] for px in (512, 50))
    assert relative_rms(tiled, whole) <= 1e-6
    expected = theirs(path, image)
    if expected is not None and expected.shape == image.shape:
        assert relative_rms(tiled, expected) <= 1e-6


def self_padding(path, sides):
    """A network of stride 4 that pads any image to a multiple of it by itself, and crops what it made."""
    graph = Graph()
    sizes = graph.size_of("picture")
    four = graph.constant([4, 4], np.int64)
    over = graph.node("Mod", graph.node("Sub", graph.constant([0, 0], np.int64), sizes), four, fmod=0)
    before = graph.constant([0, 0], np.int64) if sides == "behind" else graph.node(
        "Div", over, graph.constant([2, 2], np.int64)
    )  # fmt: skip
    after = graph.node("Sub", over, before)
    pads = graph.node("Concat", before, after, axis=0)
    padded = graph.node(
        "Pad", "picture", pads, graph.constant(0.0), graph.constant([2, 3], np.int64),
        mode="reflect" if sides == "behind" else "constant",
    )  # fmt: skip
    level = graph.conv(graph.pool(graph.conv(padded), 4), size=3)
    made = graph.conv(graph.node("Add", graph.enlarge(level, 4), padded), size=3)
    graph.node("Slice", made, before, graph.node("Add", before, sizes), graph.constant([2, 3], np.int64))
    return graph.save(path)


@pytest.mark.parametrize("sides", ["behind", "around"])
@pytest.mark.parametrize("size", [(200, 180), (201, 183), (203, 178), (131, 97)])
def test_a_network_that_pads_by_itself_is_tiled_as_it_is_whole(tmp_path, sides, size):
    path = self_padding(tmp_path / "pads.onnx", sides)
    predictor = load(path)
    assert (predictor.spec.stride, predictor.spec.size_step) == ((1, 4, 4), (1, 1, 1))
    image = picture(*size)
    for px in (48, 64, 512):
        assert relative_rms(predictor.predict(image, px)["stain"], theirs(path, image)) <= 1e-6


def interpolating(path):
    """A network that enlarges to the size it was given, by another factor at odd sizes."""
    graph = Graph()
    small = graph.conv(graph.pool(graph.conv("picture"), 2), size=3)
    sizes = graph.node("Concat", graph.node("Shape", small, start=0, end=2), graph.size_of("picture"), axis=0)
    large = graph.node("Resize", small, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    graph.conv(large)
    return graph.save(path)


def test_a_network_that_interpolates_at_odd_sizes_is_run_whole_there_or_says_by_how_much_it_differs(tmp_path):
    path = interpolating(tmp_path / "interpolates.onnx")
    predictor = load(path)
    even, odd = picture(200, 180), picture(201, 183)
    plan = predictor.plan((1, 200, 180), 64)
    assert len(plan) > 1
    assert predictor.caveat(plan, predictor.source(even)) == ""
    assert relative_rms(predictor.predict(even, 64)["stain"], theirs(path, even)) <= 1e-6
    assert len(predictor.plan((1, 201, 183), 64)) == 1
    assert relative_rms(predictor.predict(odd, 64)["stain"], theirs(path, odd)) <= 1e-6


@pytest.mark.parametrize("stride", [5, 6, 9])
def test_any_stride_can_be_predicted_with(tmp_path, stride):
    graph = Graph()
    stem = graph.node("Relu", graph.conv("picture", size=stride, stride=stride, padding=0))
    made = graph.enlarge(graph.conv(stem), stride, "transposed")
    graph.node("Add", made, "picture")
    path = graph.save(tmp_path / "stride.onnx")
    predictor = load(path)
    assert predictor.spec.stride == (1, stride, stride)
    assert predictor.spec.tile_exact
    image = picture(16 * stride, 13 * stride)
    assert relative_rms(predictor.predict(image, 4 * stride)["stain"], theirs(path, image)) <= 1e-6
    off = picture(16 * stride + 2, 13 * stride + 1)
    tiled, whole = (predictor.predict(off, px)["stain"] for px in (4 * stride, 999))
    assert relative_rms(tiled, whole) <= 1e-6


def test_a_store_takes_tiles_of_any_stride(tmp_path):
    graph = Graph()
    graph.enlarge(graph.conv(graph.conv("picture", size=5, stride=5, padding=0)), 5)
    path = graph.save(tmp_path / "five.onnx")
    workspace = Workspace.create(tmp_path / "study")
    plate(workspace.new_dataset("noise"), keys=("A/1/0",), shape=(1, 2, 1, 640, 530))
    known = ModelNotes(sources=("Phase",), targets=("Nuclei",))
    settings = PredictSettings(dataset="noise", model=path, model_info=known, engine="onnxruntime", device="cpu")
    result = run(settings.model_copy(update={"tile_px": 512, "threads": 1}), workspace, Progress())
    source = open_dataset(workspace.find_dataset("noise")).position("A/1/0").read(["Phase"])[:, 0]
    stored = open_dataset(result.store).position("A/1/0").read(["Nuclei_prediction"])[:, 0]
    assert relative_rms(stored, theirs(path, source)) <= 1e-6


def test_a_network_of_channels_last_is_run_as_it_is_meant(tmp_path):
    graph = Graph()
    first = graph.node("Transpose", "picture", perm=[0, 3, 1, 2])
    graph.node("Transpose", graph.conv(first, size=5), perm=[0, 2, 3, 1])
    path = graph.save(tmp_path / "last.onnx", ["batch", "height", "width", 1])
    image = picture(150, 133)
    expected = theirs(path, np.moveaxis(image, 0, -1))[..., 0]
    assert relative_rms(load(path).predict(image, 64)["stain"][0], expected) <= 1e-6


def grouped(path):
    """A group normalization as torch writes it: pixels and channels are flattened on the way."""
    graph = Graph()
    made, ones = graph.conv("picture", out=4), graph.constant([1.0, 1.0])
    flat = graph.node("Reshape", made, graph.constant([0, 2, -1], np.int64))
    normalized = graph.node("InstanceNormalization", flat, ones, graph.constant([0.0, 0.0]))
    graph.conv(graph.node("Reshape", normalized, graph.node("Shape", made)), channels=4)
    return graph.save(path)


def endless(path, trips=None):
    """A loop: of very many trips, or of few."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node("Add", ["x", "one"], ["more"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, None),
        ],
        [onnx.numpy_helper.from_array(np.asarray(1e-9, np.float32), "one")],
    )
    graph = Graph()
    count = graph.constant(2**62 if trips is None else trips, np.int64)
    graph.node("Loop", count, graph.constant(True, bool), graph.conv("picture"), body=body)
    return graph.save(path)


def test_what_a_graph_does_not_tell_is_never_called_exact(tmp_path):
    for path in (endless(tmp_path / "loop.onnx", trips=2), grouped(tmp_path / "group.onnx")):
        spec = third_party_spec(path, ["Phase"], ["Nuclei"])
        assert not spec.tile_exact
        assert "does not tell" in spec.training.reach


def test_a_loop_without_end_is_refused_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_vstain.core.models.receptive_field.graph_run.LIMIT_S", 0.3)
    began = time.monotonic()
    with pytest.raises(ModelError, match="may have no end"):
        third_party_spec(endless(tmp_path / "loop.onnx"), ["Phase"], ["Nuclei"])
    assert time.monotonic() - began < 5


def test_following_a_loop_without_end_stops_on_request(tmp_path):
    token = CancelToken()
    threading.Timer(0.3, token.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        load(endless(tmp_path / "loop.onnx"), token=token)
    assert time.monotonic() - began < 2
