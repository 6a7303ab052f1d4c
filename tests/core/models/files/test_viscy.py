"""VisCy's 2D U-Net predicts here what it predicts there."""

import json

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.files.checkpoint import load_checkpoint, save_checkpoint
from napari_vstain.core.models.files.viscy import load_viscy
from napari_vstain.core.models.receptive_field.gradient_probe import probe_gradients
from napari_vstain.core.models.receptive_field.layer_walk import walk_layers
from napari_vstain.core.models.spec import Dimensions
from napari_vstain.core.models.viscy_unet import VisCyUNet2D

MODEL = {"architecture": "2D", "model_config": {"num_filters": [2, 4], "num_blocks": 1, "task": "reg"}}


@pytest.fixture
def checkpoint(tmp_path):
    network = VisCyUNet2D(num_filters=[2, 4], num_blocks=1, task="reg")
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "viscy.ckpt")
    return tmp_path / "viscy.ckpt"


@pytest.mark.real_data("viscy_unet2d")
def test_a_real_checkpoint_predicts_what_viscy_predicted(real_data):
    folder = real_data / "viscy_unet2d"
    spec, network = load_viscy(folder / "model.ckpt", folder / "config.json")
    reference = np.load(folder / "reference.npz")
    statistics = json.loads((folder / "config.json").read_text())["normalization"]["Phase3D"]["fov_statistics"]
    normalized = (reference["source"] - statistics["median"]) / (statistics["iqr"] + 1e-8)
    with torch.inference_mode():
        made = network(torch.from_numpy(normalized[:, :, 0].astype(np.float32))).numpy()
    expected = reference["prediction"][:, :, 0]
    assert np.abs(made - expected).max() <= 1e-5 * np.abs(expected).max()
    assert (spec.sources, spec.targets) == (("Phase3D",), ("Nuclei", "Membrane"))
    assert spec.source_normalization.model_dump() == {"level": "fov", "subtract": "median", "divide": "iqr"}
    assert (spec.stride, spec.tile_exact) == ((1, 16, 16), True)
    assert spec.target_offset_and_divisor("Nuclei") == pytest.approx((0, 1))


@settings(max_examples=6, deadline=None)
@given(blocks=st.integers(1, 3), layers=st.integers(1, 2), residual=st.booleans())
def test_its_field_is_the_one_that_gradients_see(blocks, layers, residual):
    network = VisCyUNet2D(num_blocks=blocks, num_block_layers=layers, residual=residual, num_filters=[2] * (blocks + 1))
    assert walk_layers(network, Dimensions.TWO) == probe_gradients(network)


def test_viscys_own_configuration_is_understood(checkpoint, tmp_path):
    normalize = "viscy.transforms.NormalizeSampled"
    config = {
        "model": {"class_path": "viscy.translation.engine.VSUNet", "init_args": MODEL},
        "data": {
            "class_path": "viscy.data.hcs.HCSDataModule",
            "init_args": {
                "source_channel": "Phase3D",
                "target_channel": ["Nuclei"],
                "normalizations": [
                    {"class_path": normalize, "init_args": {"keys": ["Phase3D"], "level": "fov_statistics"}},
                    {
                        "class_path": normalize,
                        "init_args": {
                            "keys": ["Nuclei"],
                            "level": "fov_statistics",
                            "subtrahend": "median",
                            "divisor": "iqr",
                        },
                    },
                ],
            },
        },
        "normalization": {"Nuclei": {"dataset_statistics": {"mean": 5, "std": 2, "median": 4, "iqr": 3}}},
    }
    path = tmp_path / "fit.yml"
    path.write_text(yaml.safe_dump(config))
    spec, _ = load_viscy(checkpoint, path)
    assert spec.source_normalization.model_dump() == {"level": "fov", "subtract": "mean", "divide": "std"}
    assert spec.target_offset_and_divisor("Nuclei") == pytest.approx((4, 3))


def test_it_can_be_kept_as_a_checkpoint_of_ours(checkpoint, tmp_path):
    config = {"model": MODEL, "source_channel": "P", "prediction_channels": ["N"]}
    spec, network = load_viscy(checkpoint, config | {"source_normalization": {"level": "timepoint_statistics"}})
    save_checkpoint(tmp_path / "ours.ckpt", spec, network)
    loaded_spec, loaded = load_checkpoint(tmp_path / "ours.ckpt")
    image = torch.randn(1, 1, 16, 16)
    assert loaded_spec == spec
    assert torch.equal(loaded(image), network(image))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"architecture": "UNeXt2"}}, "only '2D'"),
        ({"model": {}}, "only '2D'"),
        ({"prediction_channels": ["N", "M"]}, "the network has 1"),
        ({"model": MODEL | {"model_config": {"num_filters": [2, 8], "num_blocks": 1}}}, "does not fit the network"),
        ({"model": MODEL | {"model_config": {"depth": 1}}}, "does not fit"),
        ({"source_normalization": {"level": "dataset_statistics"}}, "no dataset statistics"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_sentence(checkpoint, change, message):
    config = {
        "model": MODEL,
        "source_channel": "P",
        "prediction_channels": ["N"],
        "source_normalization": {"level": "fov_statistics"},
    }
    with pytest.raises(ModelError, match=message):
        load_viscy(checkpoint, config | change)
