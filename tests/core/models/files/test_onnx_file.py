"""An ONNX file says all that a prediction needs, and computes what the network computes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.files.onnx_file import (
    CONSTANTS,
    export_onnx,
    has_spec,
    load_model,
    neutralise,
    read_spec,
)
from napari_vstain.core.models.spec import Dimensions, ModelSpec, Normalization, OutputKind, OutputSpec, Statistics


class Pyramid(nn.Module):
    """A BatchNorm network with one pooling and a skip, in two or three dimensions, with as many heads as outputs."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        torch.manual_seed(0)
        deep = spec.dimensions is not Dimensions.TWO
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if deep else (nn.Conv2d, nn.BatchNorm2d)
        size = (1, 3, 3) if deep else 3
        near = (0, 1, 1) if deep else 1
        self.pool = nn.MaxPool3d((1, 2, 2)) if deep else nn.MaxPool2d(2)
        self.enter = nn.Sequential(conv(len(spec.sources), 8, size, padding=near), norm(8), nn.ReLU())
        self.below = nn.Sequential(conv(8, 8, size, padding=near), norm(8), nn.ReLU())
        self.up = nn.Upsample(scale_factor=(1, 2, 2) if deep else 2, mode="nearest")
        self.heads = nn.ModuleDict({o.task: conv(16, len(o.channels), 1) for o in spec.outputs})
        for module in self.modules():
            if isinstance(module, norm):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        x = self.enter(x)
        x = torch.cat([x, self.up(self.below(self.pool(x)))], 1)
        made = {task: head(x) for task, head in self.heads.items()}
        return made if len(made) > 1 else next(iter(made.values()))


def statistics(seed: int) -> Statistics:
    mean, std = 100.0 * (seed + 1), 10.0 + seed
    return Statistics(mean=mean, std=std, median=mean - 1, iqr=1.2 * std)


ONE = (OutputSpec(channels=("Nuclei", "Membrane")),)
TWO = (
    OutputSpec(task="stain", channels=("Nuclei",)),
    OutputSpec(task="cells", channels=("Mask",), kind=OutputKind.MASK),
)


def spec_of(dimensions=Dimensions.TWO, outputs=ONE, level="dataset", z_window=1) -> ModelSpec:
    names = ("Phase", "DIC", *(c for o in outputs for c in o.channels))
    return ModelSpec(
        sources=("Phase", "DIC"),
        outputs=outputs,
        dimensions=dimensions,
        z_window=z_window,
        stride=(1, 2, 2),
        halo=(0, 4, 4),
        source_normalization=Normalization(level=level),
        statistics={name: statistics(i) for i, name in enumerate(names)},
    )


SPECS = {
    "2D": spec_of(),
    "2.5D": spec_of(Dimensions.WINDOW, z_window=5),
    "3D": spec_of(Dimensions.THREE),
    "two outputs": spec_of(outputs=TWO),
    "own numbers": spec_of(level="fov"),
}


def column(spec: ModelSpec, pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    offset, divisor = np.asarray(pairs, np.float32).T
    shape = (1, -1, *(1,) * (2 if spec.dimensions is Dimensions.TWO else 3))
    return offset.reshape(shape), divisor.reshape(shape)


def run(path_or_bytes: object, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path_or_bytes, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def outputs_of(network: nn.Module, batch: np.ndarray, spec: ModelSpec) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        made = network(torch.from_numpy(batch))
    made = made if isinstance(made, dict) else {spec.outputs[0].task: made}
    return {task: tensor.numpy() for task, tensor in made.items()}


def image_for(spec: ModelSpec, batch: int, y: int, x: int, z: int = 4) -> np.ndarray:
    depth = {Dimensions.TWO: (), Dimensions.WINDOW: (spec.z_window,), Dimensions.THREE: (z,)}[spec.dimensions]
    generator = np.random.default_rng(1)
    return generator.normal(110, 20, (batch, len(spec.sources), *depth, y, x)).astype(np.float32)


def relative_rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)) / b.std())


@pytest.fixture(params=SPECS, scope="module")
def exported(request, tmp_path_factory) -> tuple[Path, ModelSpec, nn.Module]:
    spec = SPECS[request.param]
    network = Pyramid(spec)
    return export_onnx(network, spec, tmp_path_factory.mktemp("onnx") / "model.onnx"), spec, network


@pytest.mark.parametrize(("batch", "y", "x"), [(1, 32, 32), (3, 22, 58)])
def test_the_file_computes_what_the_network_computes_in_the_channels_own_units(exported, batch, y, x):
    path, spec, network = exported
    image = image_for(spec, batch, y, x)
    offset, divisor = column(spec, [spec.source_offset_and_divisor(c) for c in spec.sources])
    own = {"source_offset": offset.ravel(), "source_divisor": divisor.ravel()}
    given = own if spec.source_normalization.level != "dataset" else {}
    found = run(path, {"source": image, **given})
    expected = outputs_of(network, (image - offset) / divisor, spec)
    assert list(found) == [output.task for output in spec.outputs]
    for output in spec.outputs:
        pairs = [spec.target_offset_and_divisor(c) for c in output.channels]
        offset, divisor = column(spec, pairs if output.kind is OutputKind.FLUORESCENCE else [(0, 1)])
        # In own units a pixel of 300 is rounded to 3e-5, which is more than the network's own error.
        assert relative_rms(found[output.task], expected[output.task] * divisor + offset) < 5e-6


def test_the_constants_may_be_overridden_by_the_caller(exported):
    path, spec, network = exported
    batch = image_for(spec, 2, 16, 20) / 100
    identity = {
        name: np.full(len(c), "divisor" in name, np.float32) for name, c in zip(CONSTANTS, channels(spec), strict=True)
    }
    expected = outputs_of(network, batch, spec)
    for task, found in run(path, {"source": batch, **identity}).items():
        assert relative_rms(found, expected[task]) < 1e-6


def channels(spec: ModelSpec) -> tuple[tuple[str, ...], ...]:
    return (spec.sources, spec.sources, spec.targets, spec.targets)


def test_a_neutralised_file_is_the_network_alone(exported):
    path, spec, network = exported
    model = load_model(path)
    bare = neutralise(model)
    onnx.checker.check_model(bare, full_check=True)
    assert [value.name for value in bare.graph.input] == ["source"]
    batch = image_for(spec, 2, 18, 24) / 100
    expected = outputs_of(network, batch, spec)
    for task, found in run(bare.SerializeToString(), {"source": batch}).items():
        assert relative_rms(found, expected[task]) < 1e-6
    assert model == load_model(path), "the model given is not changed"
    assert neutralise(bare) == bare


def test_the_file_is_a_valid_model_that_names_its_axes_and_no_folder_of_this_machine(exported):
    path, spec, _ = exported
    model = load_model(path)
    onnx.checker.check_model(model, full_check=True)
    names = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    deep = {Dimensions.TWO: [], Dimensions.WINDOW: [5], Dimensions.THREE: ["z"]}[spec.dimensions]
    assert names == ["batch", 2, *deep, "y", "x"]
    assert b".py" not in path.read_bytes()


def test_the_spec_comes_back_as_it_went_in(exported):
    path, spec, _ = exported
    assert has_spec(path)
    assert read_spec(path) == spec


def test_without_normalization_the_file_takes_normalized_intensities(tmp_path):
    spec = SPECS["2D"]
    network = Pyramid(spec)
    path = export_onnx(network, spec, tmp_path / "bare.onnx", normalized=False)
    batch = image_for(spec, 1, 16, 16) / 100
    assert [value.name for value in load_model(path).graph.input] == ["source"]
    assert relative_rms(run(path, {"source": batch})["stain"], outputs_of(network, batch, spec)["stain"]) < 1e-6


def test_export_leaves_the_network_as_it_was(tmp_path):
    spec = SPECS["2D"]
    network = Pyramid(spec).train()
    network.below.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    export_onnx(network, spec, tmp_path / "model.onnx")
    assert network.training
    assert not network.below.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_network_that_cannot_be_exported_says_so_and_writes_nothing(tmp_path):
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match="cannot be exported to ONNX"):
        export_onnx(Branching(), SPECS["2D"], tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x0a"], ids=["empty", "text", "no graph"])
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is no ONNX model, or only part of one"):
        read_spec(path)


def test_a_truncated_file_is_refused_at_any_length(exported, tmp_path):
    content = exported[0].read_bytes()
    for length in range(1, len(content), max(1, len(content) // 7)):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        with pytest.raises(ModelError, match="is no ONNX model, or only part of one"):
            read_spec(tmp_path / "cut.onnx")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match="is not there; check the path"):
        read_spec(tmp_path / "nothing.onnx")


def test_a_model_of_someone_else_has_no_spec(exported, tmp_path):
    model = load_model(exported[0])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    assert not has_spec(tmp_path / "foreign.onnx")
    with pytest.raises(ModelError, match="name its source and target channels"):
        read_spec(tmp_path / "foreign.onnx")


def test_a_description_that_breaks_its_own_rules_is_refused(exported, tmp_path):
    model = load_model(exported[0])
    model.metadata_props[0].value = '{"sources": []}'
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match="does not understand"):
        read_spec(tmp_path / "odd.onnx")


def test_reading_a_spec_loads_no_torch(exported):
    code = (
        "import sys; from napari_vstain.core.models.files.onnx_file import read_spec, neutralise, load_model; "
        "read_spec(sys.argv[1]); neutralise(load_model(sys.argv[1])); "
        "assert not {'torch', 'monai', 'lightning', 'onnxscript'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(exported[0])], check=True, timeout=120)
