"""A checkpoint alone rebuilds its network, and whatever is no checkpoint of ours is refused in one sentence."""

import json
import os

import pytest
import torch
from torch import nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.files.allowed import allow, allowed_file, allowed_packages
from napari_vstain.core.models.files.checkpoint import KEY, load_checkpoint, load_spec, save_checkpoint, weights_digest
from napari_vstain.core.models.networks import allow_trained, build_network, network_config
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import ModelSpec, OutputSpec
from napari_vstain.core.models.unet import UNet


def _spec(config):
    field = receptive_field(UNet(features=(2, 4)))
    outputs = (OutputSpec(channels=("Nuclei",)),)
    return ModelSpec(sources=("Phase",), outputs=outputs, config=config, stride=field.stride, halo=field.halo)


@pytest.fixture
def saved(tmp_path):
    network = UNet(features=(2, 4))
    path = tmp_path / "model.ckpt"
    return path, save_checkpoint(path, _spec(network_config(network, features=[2, 4])), network), network.eval()


def test_a_saved_network_predicts_the_same_after_it_is_loaded(saved):
    path, spec, network = saved
    loaded_spec, loaded = load_checkpoint(path)
    image = torch.randn(1, 1, 8, 8)
    assert loaded_spec == spec == load_spec(path)
    assert not loaded.training
    assert torch.equal(loaded(image), network(image))


def test_the_digest_is_of_the_weights_only(saved):
    _, spec, network = saved
    assert spec.weights == weights_digest(network.state_dict())
    with torch.no_grad():
        network.head.bias.add_(1)
    assert spec.weights != weights_digest(network.state_dict())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(saved, share):
    path, *_ = saved
    os.truncate(path, int(path.stat().st_size * share))
    for load in (load_checkpoint, load_spec):
        with pytest.raises(ModelError, match="is no checkpoint, is damaged"):
            load(path)


def test_a_missing_file_a_text_and_a_foreign_checkpoint_are_refused(tmp_path):
    with pytest.raises(ModelError, match="is not there"):
        load_checkpoint(tmp_path / "none.ckpt")
    text = tmp_path / "text.ckpt"
    text.write_text("not a model")
    with pytest.raises(ModelError, match="is no checkpoint"):
        load_checkpoint(text)
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}, "epoch": 3}, foreign)
    with pytest.raises(ModelError, match="was not made by napari-vstain"):
        load_spec(foreign)


class _Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "bomb": _Bomb()}, tmp_path / "bomb.ckpt")
    with pytest.raises(ModelError, match="holds more than weights"):
        load_checkpoint(tmp_path / "bomb.ckpt")
    assert not (tmp_path / "exploded").exists()


def test_weights_that_do_not_fit_are_named(saved):
    path, spec, _ = saved
    content = torch.load(path, weights_only=True)
    content[KEY] = spec.model_copy(update={"config": network_config(UNet(), features=[2, 6])}).model_dump_json()
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"has shape .* and should have"):
        load_checkpoint(path)
    content[KEY] = spec.model_copy(update={"config": network_config(UNet(), features=[2])}).model_dump_json()
    torch.save(content, path)
    with pytest.raises(ModelError, match="have no place"):
        load_checkpoint(path)


def test_a_spec_of_another_time_is_refused(saved):
    path, *_ = saved
    content = torch.load(path, weights_only=True)
    content[KEY] = json.dumps({"from": "the future"})
    torch.save(content, path)
    with pytest.raises(ModelError, match="does not understand"):
        load_spec(path)


class Outside(nn.Conv2d):
    """A network of a package that nobody allowed."""


def test_a_file_may_name_networks_of_known_packages_only():
    config = {"class_path": "statistics.NormalDist", "init_args": {}}
    with pytest.raises(ModelError, match="a model file may name networks of napari_vstain"):
        build_network(config)
    with pytest.raises(ModelError, match=r"is no torch\.nn\.Module"):
        build_network(config, trusted=True)
    assert build_network(
        {"class_path": "torch.nn.Conv2d", "init_args": {"in_channels": 1, "out_channels": 1, "kernel_size": 3}}
    )


@pytest.mark.parametrize(
    "path",
    [
        "torch.nnodules.Evil",
        "torch.nn",
        "os.system",
        "napari_vstain.core.errors.VstainError",
        "torch.nn.modules.os.system",
    ],
)
def test_paths_that_only_look_known_are_refused(path):
    with pytest.raises(ModelError):
        build_network({"class_path": path, "init_args": {}})


def test_an_allowed_package_and_ones_own_settings_reach_further():
    config = {"class_path": "torchmetrics.image.StructuralSimilarityIndexMeasure", "init_args": {}}
    with pytest.raises(ModelError, match=r"add its package to .*allowed_packages\.txt"):
        build_network(config)
    assert isinstance(build_network(config, allowed=("torchmetrics",)), nn.Module)
    assert isinstance(build_network(config, trusted=True), nn.Module)


def test_the_list_of_allowed_packages_is_the_users_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VSTAIN_CONFIG", str(tmp_path))
    assert allowed_packages() == ()
    allowed_file().write_text("# mine\ntorchmetrics  # of Lightning\nno such name!\n")
    assert allowed_packages() == ("torchmetrics",)
    allow(["mylab", "torchmetrics"])
    assert allowed_packages() == ("torchmetrics", "mylab")
    assert allowed_file().read_text().startswith("# mine\n")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"class_path": "monai.networks.nets.HoVerNet", "init_args": {"pretrained_url": "https://x.org"}},
            "other files",
        ),
        ({"class_path": "mylab.nets.Lost", "init_args": {}}, "cannot be imported"),
    ],
)
def test_what_no_checkpoint_could_name_is_refused_before_it_is_trained(config, said):
    with pytest.raises(ModelError, match=said):
        allow_trained(config)


def test_a_file_may_not_point_to_other_files():
    config = {"class_path": "monai.networks.nets.HoVerNet", "init_args": {"pretrained_url": "https://example.org/x"}}
    with pytest.raises(ModelError, match="may not point to other files"):
        build_network(config)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(ModelError, match="depth"):
        build_network({"class_path": "napari_vstain.core.models.unet.UNet", "init_args": {"depth": 3}})


def test_networks_may_hold_networks():
    inner = {"class_path": "torch.nn.Identity"}
    built = build_network({"class_path": "monai.networks.layers.SkipConnection", "init_args": {"submodule": inner}})
    assert isinstance(built.submodule, nn.Identity)
