"""A checkpoint, or an ONNX file, alone is enough to predict."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from napari_vstain.core.errors import ModelError
from napari_vstain.core.inference import load_predictor
from napari_vstain.core.inference import runner as running
from napari_vstain.core.models.files.checkpoint import save_checkpoint
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics

from .networks import noise, relative_rms


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the paths of the same U-Net as a checkpoint and as an ONNX file."""
    import torch

    torch.manual_seed(0)
    config = {
        "class_path": "napari_vstain.core.models.unet.UNet",
        "init_args": {"in_channels": 1, "out_channels": 1, "features": [8, 16, 32]},
    }
    network = build_network(config, trusted=False).eval()
    field = receptive_field(network)
    numbers = Statistics(mean=100, std=20, median=100, iqr=25)
    spec = ModelSpec(
        sources=("Phase",),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        stride=field.stride,
        halo=field.halo,
        tile_exact=field.tile_exact,
        statistics={"Phase": numbers, "Nuclei": Statistics(mean=0, std=1, median=0, iqr=1)},
        config=config,
    )
    folder = tmp_path_factory.mktemp("model")
    spec = save_checkpoint(folder / "best.ckpt", spec, network)
    export_onnx(network, spec, folder / "best.onnx")
    return folder / "best.ckpt", folder / "best.onnx"


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_every_engine_keeps_law_1_on_a_real_network(model, engine):
    pytest.importorskip(engine)
    predictor = load_predictor(model[0], engine=engine, device="cpu", threads=1)
    assert predictor.spec.tile_exact
    image = noise((1, 333, 290))
    whole = predictor.predict(image, 512)["stain"]
    for tile in (64, 100, 176):
        assert relative_rms(predictor.predict(image, tile)["stain"], whole) <= 1e-6


@pytest.mark.parametrize("augment", ["none", "mean"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_tiles_whose_halo_is_cut_away_inside_the_network_equal_whole_passes(model, engine, augment, monkeypatch):
    pytest.importorskip(engine)
    image = noise((1, 200, 170))
    trimming = load_predictor(model[0], engine=engine, device="cpu", threads=1, augment=augment)
    found = trimming.predict(image, 64)
    assert any(trimming.runner.trimmers.values())
    monkeypatch.setattr(running, "TRIMMED_FROM", np.inf)
    whole = load_predictor(model[0], engine=engine, device="cpu", threads=1, augment=augment)
    expected = whole.predict(image, 512)
    assert not any(whole.runner.trimmers.values())
    for task, values in expected.items():
        assert relative_rms(found[task], values) <= 1e-6


def test_the_onnx_file_predicts_what_the_checkpoint_does(model):
    image = noise((1, 200, 150))
    torch_says, onnx_says = (
        load_predictor(path, engine=engine, device="cpu", threads=1).predict(image)["stain"]
        for path, engine in zip(model, ("torch", "onnxruntime"), strict=True)
    )
    assert np.abs(onnx_says - torch_says).max() <= 1e-4 * torch_says.std()


def test_a_predictor_travels_to_other_processes_as_its_file(model):
    predictor = load_predictor(model[0], engine="torch", device="cpu", augment="mean")
    parcel = pickle.dumps(predictor)
    assert len(parcel) < 2000
    image = noise((1, 60, 60))
    np.testing.assert_array_equal(pickle.loads(parcel).predict(image)["stain"], predictor.predict(image)["stain"])


def test_predicting_from_an_onnx_file_loads_no_torch(model):
    code = (
        "import sys, numpy as np\n"
        "from napari_vstain.core.inference import load_predictor\n"
        f"predictor = load_predictor({str(model[1])!r}, engine='onnxruntime', device='cpu')\n"
        "predictor.predict(np.zeros((1, 40, 40), np.float32))\n"
        "assert not {'torch', 'monai', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["model.ckpt", "model.onnx"])
def test_a_truncated_file_is_one_clear_error(model, tmp_path, name):
    whole = model[name.endswith("onnx")].read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ModelError, match=name):
        load_predictor(path)
