"""Stage 5: the file computes what the network computes, its card is true, and a failed export leaves nothing."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from napari_vstain.core.data import create_plate, open_dataset, record
from napari_vstain.core.deployment import ExportSettings, run
from napari_vstain.core.deployment import agreement as checking
from napari_vstain.core.deployment.example import example
from napari_vstain.core.errors import ModelError, WorkspaceError
from napari_vstain.core.evaluation import EvaluateSettings
from napari_vstain.core.evaluation import run as evaluate
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.models import Dimensions, ModelSpec, Normalization, OutputSpec, Statistics
from napari_vstain.core.models.files.checkpoint import load_checkpoint, save_checkpoint
from napari_vstain.core.models.files.onnx_file import read_spec, trace_network
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.preprocessing import image_statistics
from napari_vstain.core.progress import Cancelled, CancelToken, Progress
from napari_vstain.core.workspace import Workspace

SOURCES, TARGETS = ("Phase", "DIC"), ("Nuclei", "Membrane")
POSITIONS = {"train": ["A/1/0"], "validate": ["A/1/1"], "test": ["B/1/0"]}


def network_config(dimensions):
    window = 3 if dimensions is Dimensions.WINDOW else 1
    shape = {"in_channels": 2, "out_channels": 2, "features": [4, 8]}
    arguments = {**shape, "dimensions": str(dimensions), "z_window": window}
    return {"class_path": "napari_vstain.core.models.unet.UNet", "init_args": arguments}


def model(dimensions=Dimensions.TWO, level="dataset", seed=0):
    """Return a network with lively weights and BatchNorm statistics, and its spec."""
    torch.manual_seed(seed)
    network = build_network(network_config(dimensions), trusted=True).eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    field = receptive_field(network, dimensions)
    numbers = {name: (1000.0 * (i + 1), 50.0 + i) for i, name in enumerate(SOURCES + TARGETS)}
    spec = ModelSpec(
        name="first/version_0",
        sources=SOURCES,
        outputs=(OutputSpec(channels=TARGETS),),
        dimensions=dimensions,
        z_window=3 if dimensions is Dimensions.WINDOW else 1,
        stride=field.stride,
        halo=field.halo,
        tile_exact=field.tile_exact,
        source_normalization=Normalization(level=level),
        statistics={n: Statistics(mean=m, std=s, median=m, iqr=s) for n, (m, s) in numbers.items()},
        spacing_um=(1, 0.25, 0.25),
        config=network_config(dimensions),
        training={"dataset": "cells", "positions": POSITIONS, "epochs": 12},
        versions={"torch": "2"},
    )
    return network, spec


def pixels(seed, shape=(4, 3, 150, 210)):
    noise = np.random.default_rng(seed).normal(size=shape)
    means = np.array([1000, 2000, 3000, 4000])[:, None, None, None]
    return (gaussian_filter(noise, (0, 0, 2, 2)) * 300 + means).astype(np.uint16)


def make_workspace(folder):
    made = Workspace.create(folder)
    with create_plate(made.new_dataset("cells"), SOURCES + TARGETS) as plate:
        for seed, key in enumerate(key for keys in POSITIONS.values() for key in keys):
            stack = pixels(seed)[None]
            plate.add_position(key, stack.shape, stack.dtype, (1, 0.25, 0.25))[:] = stack
    return made


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path / "workspace")


KINDS = {"2D": "dataset", "2.5D": "fov", "3D": "dataset"}


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    """The export of one kind of network, its spec and its workspace."""
    made = make_workspace(tmp_path_factory.mktemp("exported"))
    network, spec = model(Dimensions(request.param), KINDS[request.param])
    chosen = trained(made, network, spec)
    return export(made, licence="CC-BY 4.0, the lab"), load_checkpoint(chosen.checkpoint)[0], made


def trained(workspace, network, spec):
    chosen = workspace.experiment("first").new_run()
    save_checkpoint(chosen.checkpoints / "best.ckpt", spec, network)
    return chosen


def export(workspace, progress=None, **settings):
    return run(ExportSettings(**{"experiment": "first", **settings}), workspace, progress or Progress())


def test_every_kind_of_network_is_exported_and_equals_itself(exported):
    result, spec, workspace = exported
    assert result.onnx == workspace.root / "deployment" / "first" / "first_version_0.onnx"
    assert result.max_abs_error_rel <= 1e-4 and result.warnings == ()
    assert [one.name.startswith("real pixels of A/1/1") for one in result.differences] == [False, False, True]
    assert len({one.shape[-2:] for one in result.differences}) == 3
    assert read_spec(result.onnx) == spec
    assert sorted(path.name for path in result.onnx.parent.iterdir()) == [
        "first_version_0.README", "first_version_0.onnx", "first_version_0.yml",
    ]  # fmt: skip


def code_of(readme):
    blocks = re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    return blocks[0]


def test_the_cards_example_runs_as_it_is_printed(exported):
    result, spec, _ = exported
    done = subprocess.run(
        [sys.executable, "-c", code_of(result.readme)],
        cwd=result.onnx.parent, capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    depth = {Dimensions.TWO: 1, Dimensions.WINDOW: 5, Dimensions.THREE: 3}[spec.dimensions]
    assert done.stdout == f"stain (2, {depth}, 700, 900) float32\n"


def predict_of(code, folder, monkeypatch):
    """Return the function that a card's example defines."""
    monkeypatch.chdir(folder)
    names = {}
    exec(code.split("\nimage = ")[0], names)
    return names["predict"]


@pytest.mark.parametrize(("depth", "size", "tile_px"), [(5, (150, 210), 64), (3, (97, 101), 48), (1, (33, 61), 512)])
def test_the_cards_example_predicts_what_the_predictor_predicts(exported, depth, size, tile_px, monkeypatch):
    result, _, _ = exported
    image = pixels(7, (4, depth, *size))[:2]
    ours = predict_of(code_of(result.readme), result.onnx.parent, monkeypatch)(image, tile_px=tile_px)["stain"]
    every = {name: image_statistics(one, 1) for name, one in zip(SOURCES, image, strict=True)}
    expected = load_predictor(result.onnx, engine="onnxruntime").predict(image, statistics=every)["stain"]
    assert ours.shape == expected.shape
    for channel, _ in enumerate(TARGETS):
        rounding = np.spacing(np.abs(expected[channel]).max())
        assert np.abs(ours[channel] - expected[channel]).max() <= 1e-4 * expected[channel].std() + 2 * rounding


@pytest.mark.parametrize("divide", ["std", "iqr", "p95_p5", "p99_p1"])
@pytest.mark.parametrize("subtract", ["mean", "median", "min", "p1", "p5"])
def test_the_cards_example_takes_an_images_own_numbers_as_preprocessing_does(subtract, divide):
    _, spec = model(level="fov")
    used = Normalization(level="fov", subtract=subtract, divide=divide)
    code = example(spec.model_copy(update={"source_normalization": used}), "file.onnx")
    image = pixels(3, (4, 2, 64, 80))[:2].astype(np.float32)
    names = {"np": np, "image": image}
    exec(textwrap.dedent(code[code.index("    own = ") : code.index("    _, depth")]), names)
    offset, divisor = zip(*(used.offset_and_divisor(image_statistics(one, 1)) for one in image), strict=True)
    np.testing.assert_allclose(names["own"]["source_offset"], offset, rtol=1e-5)
    np.testing.assert_allclose(names["own"]["source_divisor"], divisor, rtol=1e-4)


def test_the_card_says_what_a_user_must_know(exported):
    result, spec, _ = exported
    text = result.readme.read_text()
    for said in (
        "Nuclei, Membrane", "Phase, DIC", "1 x 0.25 x 0.25 µm", "(x - mean) / (std + min(1e-8, std / 100))",
        spec.fingerprint,
        "| Phase | 1000 | 50 |", "trained on 1: A/1/0", "kept for the test 1: B/1/0", "epochs: 12", "the lab",
        f"no further than {spec.halo[1]} px along Y", "real pixels of A/1/1", "onnxruntime 1.", "torch 2",
        "has not been evaluated", "CC-BY 4.0", spec.dimensions.value,
    ):  # fmt: skip
        assert said in text, said


def test_the_card_quotes_the_metrics_of_this_model(workspace):
    chosen = trained(workspace, *model())
    spec, _ = load_checkpoint(chosen.checkpoint)
    store = chosen.experiment.predictions()
    with create_plate(store, [f"{target}_prediction" for target in TARGETS]) as plate:
        truth = pixels(2)[None, 2:].astype(np.float32)
        plate.add_position("B/1/0", truth.shape, np.float32)[:] = truth * 0.9
    record(open_dataset(store).position("B/1/0"), prediction={"fingerprint": spec.fingerprint, "complete": True})
    table = evaluate(EvaluateSettings(experiment="first"), workspace, Progress()).table
    settings = ExportSettings(experiment="first", run="version_0", name="again", licence="mine")
    result = run(settings, workspace, Progress())
    assert ExportSettings.load(result.config) == settings.model_copy(update={"dataset": spec.training.dataset})
    assert (result.onnx.name, result.config.name) == ("again.onnx", "again.yml")
    text = result.readme.read_text()
    for predictor in ("model", "baseline"):
        row = table.query("predictor == @predictor and channel == 'Nuclei' and level == 'volume'").iloc[0]
        assert f"| 1 test position | Nuclei | whole | {predictor} | {row['pearson']:.4g} | {row['ssim']:.4g} |" in text
    assert "over 1 test position" in text


def test_a_file_that_computes_something_else_is_refused_and_leaves_nothing(workspace, monkeypatch):
    network, spec = model()
    trained(workspace, network, spec)
    other, _ = model(seed=1)
    monkeypatch.setattr("napari_vstain.core.models.files.onnx_file.trace_network", _tracing(other))
    with pytest.raises(ModelError, match="differs from the network by"):
        export(workspace)
    assert list((workspace.root / "deployment" / "first").iterdir()) == []


def _tracing(other):
    return lambda network, spec, opset: trace_network(other, spec, opset)


def test_a_failed_export_leaves_the_former_one(workspace, monkeypatch):
    trained(workspace, *model())
    folder = workspace.root / "deployment" / "first"
    folder.mkdir()
    before = {folder / f"first_version_0.{kind}": f"the former {kind}" for kind in ("onnx", "README")}
    for path, text in before.items():
        path.write_text(text)
    monkeypatch.setattr(checking, "LIMIT", -1.0)
    with pytest.raises(ModelError):
        export(workspace)
    assert {path: path.read_text() for path in folder.iterdir()} == before


def test_without_its_training_data_a_model_is_checked_on_generated_pixels_and_it_is_said(workspace):
    network, spec = model()
    trained(workspace, network, spec.model_copy(update={"training": Training(dataset="gone")}))
    result = export(workspace)
    assert len(result.differences) == 2 and "generated pixels only" in result.warnings[0]
    other = export(workspace, dataset=str(workspace.dataset("cells")))
    assert len(other.differences) == 3 and other.warnings == ()


@pytest.mark.parametrize("settings", [{"experiment": "none"}, {"run": "version_9"}, {"name": "../outside"}])
def test_what_is_not_there_or_cannot_be_a_name_is_said(workspace, settings):
    trained(workspace, *model())
    with pytest.raises(WorkspaceError):
        export(workspace, **settings)
    assert not any((workspace.root / "deployment").rglob("*.*"))


def test_stop_leaves_nothing(workspace):
    trained(workspace, *model())
    token = CancelToken()

    class Stopper:
        def reported(self, report):
            if report.phase == "Comparing with the network":
                token.cancel()

        def produced(self, item): ...

    with pytest.raises(Cancelled):
        export(workspace, Progress(token, Stopper()))
    assert list((workspace.root / "deployment" / "first").iterdir()) == []
