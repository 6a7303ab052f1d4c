"""A model file of any format is opened by one function, says what it lacks, and travels to workers."""

import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import napari_vstain
from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.models.files.checkpoint import save_checkpoint
from napari_vstain.core.models.files.model_file import open_model
from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.models.networks import build_network

from ...inference.networks import spec_of
from .test_third_party import write

NAMED = ModelNotes(sources=("Phase",), targets=("Nuclei",))


@pytest.fixture(params=["checkpoint", "onnx"])
def ours(request, tmp_path) -> Path:
    """A model of our own, in each of its formats."""
    config = {
        "class_path": "napari_vstain.core.models.unet.UNet",
        "init_args": {"in_channels": 1, "out_channels": 1, "features": [4, 8]},
    }
    network = build_network(config, trusted=False).eval()
    spec = spec_of(depth=1).model_copy(update={"config": config, "halo": (0, 10, 10)})
    saved = save_checkpoint(tmp_path / "model.ckpt", spec, network)
    return (
        tmp_path / "model.ckpt" if request.param == "checkpoint" else export_onnx(network, saved, tmp_path / "a.onnx")
    )


@pytest.mark.parametrize("notes", [None, ModelNotes()])
def test_a_file_of_ours_lacks_nothing_and_says_the_same_alone_and_with_its_network(ours, notes):
    file = open_model(ours, notes)
    spec, network = file.load()
    assert file.lacks() is None
    assert file.spec() == spec
    assert isinstance(network, nn.Module) or network == ours
    assert pickle.loads(pickle.dumps(file)) == file


def test_a_relative_path_and_a_configuration_are_found_from_any_folder(ours, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, told = open_model(ours.name), open_model("viscy.ckpt", ModelNotes(config=Path("config.yml")))
    monkeypatch.chdir("/")
    assert file.path == ours
    assert file.spec().sources
    assert told.notes.config == tmp_path / "config.yml"


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself
def test_a_third_party_onnx_file_says_what_it_lacks_and_is_followed_once(tmp_path, monkeypatch):
    path = write(nn.Conv2d(1, 1, 5, padding=2), tmp_path / "theirs.onnx", (2, 1, 32, 40))
    assert open_model(path).lacks().what == "channels"
    with pytest.raises(ModelError, match="name its source and target channels"):
        open_model(path).spec()
    with pytest.raises(SettingsError, match="are needed for an ONNX file"):
        open_model(path, ModelNotes(sources=("Phase",))).spec()
    file = open_model(path, NAMED)
    assert file.lacks() is None
    spec = file.spec()
    monkeypatch.setattr("napari_vstain.core.models.files.third_party.third_party_spec", None)
    assert file.load() == (spec, path)
    assert pickle.loads(pickle.dumps(file)).spec() == spec
    assert open_model(path, spec=spec).spec() == spec


def test_a_viscy_checkpoint_lacks_a_configuration_and_names_the_only_one_beside_it(tmp_path):
    path = tmp_path / "viscy.ckpt"
    torch.save({"state_dict": {"model.weight": torch.zeros(1)}}, path)
    assert open_model(path).lacks().config is None
    (tmp_path / "config.json").write_text("{}")
    assert open_model(path).lacks().config == tmp_path / "config.json"
    assert open_model(path, ModelNotes(config=tmp_path / "config.json")).lacks() is None


def test_only_one_place_tells_formats_apart_by_a_suffix():
    asks = re.compile(r"""suffix (==|!=|in) .*onnx|endswith\(.*onnx""", re.IGNORECASE)
    modules = Path(napari_vstain.__file__).parent.rglob("*.py")
    assert [module.name for module in modules if asks.search(module.read_text())] == ["model_file.py"]
