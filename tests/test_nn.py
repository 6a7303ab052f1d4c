"""A file names our classes by paths that stay, and finds them wherever they are by now."""

import json
import sys
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.test_imports import loaded_by

import napari_vstain.nn
from napari_vstain import ModelSpec, TrainSettings
from napari_vstain.core.import_paths import BEFORE, NAMES, STABLE, stable_path, stable_paths
from napari_vstain.core.overrides import merged

OLD_UNET = "napari_vstain.core.models.unet.UNet"
TEXTS = st.text() | st.sampled_from([*BEFORE, *(f"{STABLE}.{name}" for name in NAMES), "torch.nn.MSELoss"])
VALUES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_importing_the_names_loads_neither_torch_nor_lightning():
    assert not loaded_by("import napari_vstain.nn; dir(napari_vstain.nn)") & {"torch", "lightning"}
    assert "lightning" not in loaded_by("from napari_vstain.nn import UNet")


def test_every_name_is_there():
    assert sorted(NAMES) == sorted(napari_vstain.nn.__all__)
    for name in NAMES:
        assert getattr(napari_vstain.nn, name).__name__ == name


@pytest.mark.parametrize("path", BEFORE)
def test_what_files_of_before_name_is_found(path):
    stable = stable_path(path)
    module, _, name = stable.rpartition(".")
    assert module == STABLE and hasattr(import_module(module), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_written_by_its_stable_path_from_wherever_it_is(name):
    found = getattr(napari_vstain.nn, name)
    assert stable_path(f"{found.__module__}.{found.__qualname__}") == f"{STABLE}.{name}"


@given(VALUES)
def test_nothing_but_paths_is_changed_and_only_once(value):
    once = stable_paths(value)
    assert stable_paths(once) == once
    text = json.dumps(value)
    if not any(path in text for path in BEFORE):
        assert once == value


def test_the_presets_name_what_stays():
    for preset in (resources.files("napari_vstain.core") / "presets").iterdir():
        assert "napari_vstain.core" not in preset.read_text(encoding="utf-8")


def test_settings_and_models_that_name_old_paths_are_written_with_those_that_stay(tmp_path: Path):
    old = {"class_path": OLD_UNET, "init_args": {"features": [4, 8]}}
    model = {"class_path": "napari_vstain.core.training.module.StainingModule", "init_args": {"network": old}}
    data = {"class_path": "napari_vstain.core.training.data.PatchDataModule", "init_args": {}}
    TrainSettings.parse({"experiment": "a", "model": model, "data": data}).save(tmp_path / "saved.yml")
    spec = ModelSpec(sources=("a",), outputs=({"channels": ("b",)},), config=old)
    for text in ((tmp_path / "saved.yml").read_text(), spec.model_dump_json()):
        assert "napari_vstain.nn.UNet" in text and "napari_vstain.core" not in text


def test_an_old_path_over_the_stable_one_is_the_same_class_and_keeps_its_arguments():
    preset = {"class_path": "napari_vstain.nn.UNet", "init_args": {"features": [4, 8], "residual": True}}
    over = merged(preset, {"class_path": OLD_UNET, "init_args": {"residual": False}})
    assert stable_paths(over)["init_args"] == {"features": [4, 8], "residual": False}


def test_a_class_that_moves_and_is_called_something_else_is_still_found(monkeypatch: pytest.MonkeyPatch):
    from napari_vstain.core.models import networks, unet

    moved = ModuleType("napari_vstain.core.models.moved")
    moved.UNet = unet.UNet
    monkeypatch.setitem(sys.modules, moved.__name__, moved)
    monkeypatch.setitem(NAMES, "UNet", "core.models.moved")
    monkeypatch.delattr(unet, "UNet")
    for path in (OLD_UNET, "napari_vstain.nn.UNet"):
        config = {"class_path": path, "init_args": {"in_channels": 1, "out_channels": 2, "features": [4, 8]}}
        assert isinstance(networks.build_network(config), moved.UNet)
