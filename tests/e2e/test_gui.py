"""`vstain gui` opens a window with the workbench, the workspace and the images that were named."""

import sys

import pytest

from napari_vstain.cli import main
from napari_vstain.core.simulation import simulate_plate
from napari_vstain.core.workspace import Workspace


def test_the_window_opens_with_the_workspace_and_the_plate(tmp_path, monkeypatch, make_napari_viewer, qtbot):
    import napari

    workspace = Workspace.create(tmp_path / "study")
    plate = simulate_plate(workspace.new_dataset("cells"), fields=1, size=64)
    viewer = make_napari_viewer()
    monkeypatch.setattr(napari, "Viewer", lambda: viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    monkeypatch.chdir(workspace.datasets)
    assert main(["gui", str(plate)]) == 0
    [dock] = viewer.window.dock_widgets.values()
    session = dock.context.session
    qtbot.waitUntil(lambda: session.workspace == workspace, timeout=30_000)
    qtbot.waitUntil(lambda: session.dataset is not None, timeout=30_000)
    assert session.dataset.path == plate
    assert {"Phase", "Nuclei", "Membrane"} <= {layer.name for layer in viewer.layers}


def test_without_napari_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "napari", None)
    monkeypatch.setattr("napari_vstain.cli.gui.find_spec", lambda name: None)
    assert main(["gui"]) == 1
    assert "pip install 'napari-vstain[all]'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nothing.zarr"], ["-w", "nowhere"]])
def test_what_is_not_there_is_said_before_a_window_opens(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("napari_vstain.cli.gui.open_window", lambda *_: pytest.fail("opened"))
    assert main(["gui", *arguments]) == 1
    assert "no" in capsys.readouterr().err
