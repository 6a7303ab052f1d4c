"""A model file is what it says, or is refused in one sentence, whichever part of it is not."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from pydantic_core import to_jsonable_python

from napari_vstain.core.errors import ModelError
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.models.files.checkpoint import KEY, attach_spec, load_checkpoint, save_checkpoint
from napari_vstain.core.models.files.onnx_file import METADATA_KEY, export_onnx, read_spec
from napari_vstain.core.models.files.onnx_integrity import DIGEST_KEY
from napari_vstain.core.models.files.third_party import third_party_spec
from napari_vstain.core.models.networks import MOST_LAYERS, build_network, network_config
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import Dimensions, ModelSpec, OutputSpec, Statistics
from napari_vstain.core.models.unet import UNet

STATISTICS = Statistics(mean=100, std=10, median=99, iqr=12)


@pytest.fixture(scope="module")
def model() -> tuple[torch.nn.Module, ModelSpec]:
    torch.manual_seed(0)
    network = UNet(features=(2, 4)).eval()
    field = receptive_field(network)
    outputs = (OutputSpec(channels=("Nuclei",)),)
    statistics = {"Phase": STATISTICS, "Nuclei": STATISTICS}
    config = network_config(network, features=[2, 4])
    return network, ModelSpec(
        name="first/run",
        sources=("Phase",),
        outputs=outputs,
        stride=field.stride,
        halo=field.halo,
        statistics=statistics,
        spacing_um=(None, 0.1, 0.1),
        config=config,
    )


@pytest.fixture
def checkpoint(tmp_path, model) -> Path:
    network, spec = model
    save_checkpoint(tmp_path / "model.ckpt", spec, network)
    return tmp_path / "model.ckpt"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model) -> bytes:
    return export_onnx(*model, tmp_path_factory.mktemp("onnx") / "model.onnx").read_bytes()


@pytest.fixture
def onnx_file(tmp_path, exported) -> Path:
    (tmp_path / "model.onnx").write_bytes(exported)
    return tmp_path / "model.onnx"


def change(path: Path, edit: Callable[[dict[str, Any]], object], sign: bool = False) -> Path:
    """Change what a checkpoint holds; with `sign`, its digest too, as somebody would who means it."""
    content = torch.load(path, weights_only=True)
    edit(content)
    if sign:
        attach_spec(content, ModelSpec.model_validate_json(content[KEY]))
    torch.save(content, path)
    return path


def said(spec: ModelSpec, values: dict[str, Any]) -> str:
    """Return what a file says, where some of it was changed by hand."""
    return json.dumps({**json.loads(spec.model_dump_json()), **to_jsonable_python(values)})


def says(**values: Any) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        content[KEY] = said(ModelSpec.model_validate_json(content[KEY]), values)

    return edit


def _weight(value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        name = next(name for name in content["state_dict"] if name.endswith("weight"))
        content["state_dict"][name] = value(content["state_dict"][name])

    return edit


def test_a_good_file_loads_whole(checkpoint, onnx_file, model):
    assert load_checkpoint(checkpoint)[0].sources == read_spec(onnx_file).sources == ("Phase",)
    image = np.random.default_rng(0).normal(100, 10, (1, 32, 40)).astype(np.float32)
    made = [load_predictor(path, engine="onnxruntime").predict(image)["stain"] for path in (checkpoint, onnx_file)]
    np.testing.assert_allclose(*made, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_weight_that_differs_by_one_bit_is_seen(checkpoint, seed):
    def edit(content: dict[str, Any]) -> None:
        generator = np.random.default_rng(seed)
        name = generator.choice([name for name in content["state_dict"] if not name.endswith("tracked")])
        flat = content["state_dict"][name].reshape(-1).view(torch.uint8)
        flat[int(generator.integers(len(flat)))] ^= 1

    with pytest.raises(ModelError, match=r"not those that it describes|not finite"):
        load_checkpoint(change(checkpoint, edit))


def test_a_file_of_before_that_says_no_digest_loads(checkpoint, onnx_file):
    assert load_checkpoint(change(checkpoint, says(weights="")))[0].weights == ""
    content = onnx.load(onnx_file)
    entry = next(entry for entry in content.metadata_props if entry.key == DIGEST_KEY)
    content.metadata_props.remove(entry)
    onnx.save(content, onnx_file)
    assert read_spec(onnx_file).sources == ("Phase",)


NO_NUMBERS = {
    "nan": lambda weight: weight.fill_(math.nan),
    "infinite": lambda weight: weight.fill_(math.inf),
    "complex": lambda weight: weight.to(torch.complex64),
    "integer": lambda weight: weight.to(torch.int32),
    "bool": lambda weight: weight.to(torch.bool),
}
NO_TENSORS = {
    "sparse": lambda weight: weight.to_sparse(),
    "repeated": lambda weight: torch.zeros(1).expand(10**9),
    "repeated for ever": lambda weight: torch.zeros(1, dtype=torch.uint8).expand(10**12),
    "quantized": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_weights_that_are_no_finite_numbers_are_refused(checkpoint, value, signed):
    path = change(checkpoint, _weight(value), signed)
    with pytest.raises(ModelError):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", NO_TENSORS.values(), ids=NO_TENSORS)
def test_weights_that_are_no_plain_tensors_are_refused_before_they_are_looked_at(checkpoint, value):
    path = change(checkpoint, _weight(value))
    with pytest.raises(ModelError):
        load_checkpoint(path)


LIES = {
    "two sources": {"sources": ("Phase", "DIC")},
    "3D": {"dimensions": Dimensions.THREE, "z_window": 4},
    "2.5D": {"dimensions": Dimensions.WINDOW, "z_window": 5},
    "two targets": {"outputs": (OutputSpec(channels=("Nuclei", "Membrane")),)},
    "two outputs": {"outputs": (OutputSpec(channels=("Nuclei",)), OutputSpec(task="b", channels=("B",)))},
    "scale": {"outputs": (OutputSpec(channels=("Nuclei",), scale=(1, 2, 2)),)},
    "no scale": {"outputs": (OutputSpec(channels=("Nuclei",), scale=(1, 0, 0)),)},
    "a scale that is no number": {"outputs": (OutputSpec(channels=("Nuclei",), scale=(1, math.nan, 1)),)},
    "stride": {"stride": (1, 1, 1)},
    "endless stride": {"stride": (1, 2**20, 2**20), "halo": (0, 0, 0)},
    "halo": {"halo": (0, 2, 2)},
    "endless halo": {"halo": (0, 2**20, 2**20)},
    "spacing": {"spacing_um": (1, -1, 0.1)},
    "spacing 0": {"spacing_um": (None, 0, 0)},
    "std": {"statistics": {"Phase": STATISTICS.model_copy(update={"std": -1}), "Nuclei": STATISTICS}},
    "novelty": {"novelty": {"version": 3, "channels": {"Phase": {"features": "far"}}}},
    "novelty that is none": {"novelty": {"version": 3, "channels": 3}},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_checkpoint_that_says_something_else_than_it_holds_is_refused(checkpoint, lie):
    with pytest.raises(ModelError) as caught:
        load_predictor(change(checkpoint, says(**lie)), engine="torch")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mean", "std", "p99"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_statistics_that_are_not_finite_are_refused(checkpoint, name, number):
    def edit(content: dict[str, Any]) -> None:
        content[KEY] = content[KEY].replace(f'"{name}":', f'"{name}":{number},"was":', 1).replace('"was":', '"min":', 1)

    with pytest.raises(ModelError):
        load_checkpoint(change(checkpoint, edit))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("lie", [lie for name, lie in LIES.items() if name not in ("stride", "halo")])
def test_an_onnx_file_that_says_something_else_than_it_holds_is_refused(onnx_file, model, lie, signed):
    content = onnx.load(onnx_file)
    text = said(model[1], lie)
    helper.set_model_props(content, {METADATA_KEY: text, **({} if signed else {DIGEST_KEY: "0" * 16})})
    onnx.save(content, onnx_file)
    with pytest.raises(ModelError) as caught:
        load_predictor(onnx_file, engine="onnxruntime")
    assert "\n" not in str(caught.value)


def test_an_onnx_graph_that_was_changed_is_seen(onnx_file):
    content = onnx.load(onnx_file)
    tensor = next(one for one in content.graph.initializer if one.data_type == TensorProto.FLOAT)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.001), tensor.name))
    onnx.save(content, onnx_file)
    with pytest.raises(ModelError, match="was changed after the export"):
        read_spec(onnx_file)


def _third_party(path: Path, *nodes: Any, **constants: Any) -> Path:
    image = [1, 1, "y", "x"]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Conv", ["image", "weight"], ["stain"], pads=[1, 1, 1, 1])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("stain", TensorProto.FLOAT, image)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


ENDLESS = {
    "a constant of any size": ([helper.make_node("ConstantOfShape", ["n"], ["made"])], {"n": [10**6, 10**6]}),
    "a range": ([helper.make_node("Range", ["a", "n", "b"], ["made"])], {"a": 0, "n": 10**12, "b": 1}),
    "a tile": ([helper.make_node("Tile", ["weight", "n"], ["made"])], {"n": [10**4, 10**4, 1, 1]}),
    "a number that is none": ([], {"w": np.array([math.nan], np.float32)}),
}


@pytest.mark.parametrize(("nodes", "constants"), ENDLESS.values(), ids=ENDLESS)
def test_a_graph_that_would_fill_the_memory_is_refused_before_it_is_loaded(tmp_path, nodes, constants):
    weight = np.ones((1, 1, 3, 3), np.float32)
    path = _third_party(tmp_path / "theirs.onnx", *nodes, weight=weight, **constants)
    with pytest.raises(ModelError):
        third_party_spec(path, ["a"], ["b"])


def test_functions_that_call_each_other_without_end_are_refused(tmp_path):
    path = _third_party(tmp_path / "theirs.onnx", weight=np.ones((1, 1, 3, 3), np.float32))
    content = onnx.load(path)
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    for index in range(40):
        calls = [helper.make_node(f"f{(index + 1) % 40}", ["x"], ["y"], domain="own")] * 2
        content.functions.append(helper.make_function("own", f"f{index}", ["x"], ["y"], calls, opset))
    content.graph.node.append(helper.make_node("f0", ["stain"], ["more"], domain="own"))
    onnx.save(content, path)
    with pytest.raises(ModelError, match="more than"):
        third_party_spec(path, ["a"], ["b"])


def test_a_file_cannot_ask_for_a_network_that_is_endless_or_fills_the_memory(checkpoint):
    for arguments in ({"features": [2, 2**22]}, {"features": [2] * 50_000}, {"features": [2**20, 2**20]}):
        lie = {"config": {"class_path": "napari_vstain.core.models.unet.UNet", "init_args": arguments}}
        with pytest.raises(ModelError):
            load_checkpoint(change(checkpoint, says(**lie)))
    layers = [{"class_path": "torch.nn.ReLU"}] * 3
    sequence = {"class_path": "torch.nn.TransformerEncoder", "init_args": {"num_layers": MOST_LAYERS}}
    sequence["init_args"]["encoder_layer"] = layers[0]
    with pytest.raises(ModelError, match=r"layers|cannot be built"):
        build_network(sequence)


@pytest.mark.parametrize("suffix", [".ckpt", ".onnx", ""])
@pytest.mark.parametrize("content", [b"", b"root:x:0:0\n", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x08\x09" * 99])
def test_what_is_no_model_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    for place in (path, tmp_path, Path("/dev/zero")):
        with pytest.raises(ModelError) as caught:
            load_predictor(place)
        assert "\n" not in str(caught.value)
