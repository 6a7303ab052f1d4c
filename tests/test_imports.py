"""What each part loads when it is imported, seen from a fresh interpreter."""

import pkgutil
import subprocess
import sys

import pytest

import napari_vstain.core

WINDOW = {"qtpy", "napari", "magicgui", "superqt", "pyqtgraph", "PyQt5", "PyQt6", "PySide2", "PySide6"}
HEAVY = {"torch", "lightning", "monai", "iohub", "dask", "zarr", "pandas", "onnx", "onnxruntime", "openvino", "skimage"}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after running `code`."""
    script = f"{code}\nimport sys\nprint('\\n' + ' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def modules_of(package) -> list[str]:
    """Return every module below `package`."""
    found = pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.", onerror=lambda name: None)
    return [module.name for module in found]


def test_all_of_core_and_the_command_line_know_no_window():
    names = ["napari_vstain.core", *modules_of(napari_vstain.core), "napari_vstain.cli", "napari_vstain.contributions"]
    assert len(names) > 40
    assert not loaded_by(f"import {', '.join(names)}") & WINDOW


def test_importing_core_is_light():
    assert not loaded_by("import napari_vstain, napari_vstain.core") & (HEAVY | WINDOW)


@pytest.mark.parametrize("name", ["data", "models", "preprocessing", "inference", "evaluation", "deployment"])
def test_no_stage_but_training_knows_lightning(name):
    package = __import__(f"napari_vstain.core.{name}", fromlist=["_"])
    code = f"import {', '.join([package.__name__, *modules_of(package)])}"
    assert not loaded_by(code) & {"lightning", "pytorch_lightning"}


@pytest.mark.parametrize(
    "name", ["session", "jobs", "workspace", "models", "data", "preprocessing", "inference", "evaluation", "deployment"]
)
def test_the_front_door_of_each_part_is_light(name):
    assert not loaded_by(f"import napari_vstain.core.{name}") & (HEAVY | WINDOW)


def test_the_discovery_of_the_plugin_imports_none_of_its_modules():
    code = "import npe2; npe2.PluginManager.instance().discover()"
    manifests = loaded_by(f"{code}; assert 'napari-vstain' in npe2.PluginManager.instance()")
    assert "napari_vstain" not in manifests
