"""The program answers at once, in sentences, and with the exit code that scripts rely on."""

import json
import subprocess
import sys
import time

import pytest

from napari_vstain.cli import main
from napari_vstain.cli.program import VERBS
from napari_vstain.core.workspace import Workspace

HEAVY = ("torch", "lightning", "monai", "dask", "iohub", "zarr", "pandas", "skimage", "scipy", "onnxruntime", "rich")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_help_names_every_verb_and_the_usual_order(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "new → import → preprocess → train → predict → evaluate → export" in text
    for name, (_, summary) in VERBS.items():
        assert f"{name} " in text
        assert summary in text


def test_help_loads_nothing_heavy_and_takes_less_than_half_a_second():
    bare = min(_seconds("pass") for _ in range(3))
    ours = min(_seconds("from napari_vstain.cli import main; main(['--help'])") for _ in range(3))
    assert ours - bare < 0.5
    loaded = python("import sys; from napari_vstain.cli import main; main(['--help']); print('#', *sys.modules)").stdout
    assert not {*HEAVY, "pydantic", "omegaconf"} & set(loaded.rsplit("#", 1)[1].split())


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_examples_and_loads_no_framework(verb):
    done = python(
        f"import sys; from napari_vstain.cli import main; code = main([{verb!r}, '--help']);"
        "print('#', *sys.modules); sys.exit(code)"
    )
    assert done.returncode == 0, done.stderr
    text, loaded = done.stdout.rsplit("#", 1)
    assert f"vstain {verb}" in text.split("Examples:")[1]
    assert not {"torch", "lightning", "monai", "iohub", "dask", "napari", "qtpy"} & set(loaded.split())


def test_without_a_verb_the_help_is_shown_and_it_is_a_usage_error(capsys):
    assert main([]) == 2
    assert "The usual order" in capsys.readouterr().out


def test_a_misspelt_verb_is_guessed(capsys):
    assert main(["trian"]) == 2
    assert "did you mean `vstain train`?" in capsys.readouterr().err


def test_version(capsys):
    from napari_vstain import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vstain {__version__}\n"


def test_new_makes_a_workspace_and_says_where(tmp_path, capsys):
    assert main(["new", str(tmp_path / "study")]) == 0
    assert Workspace.is_one(tmp_path / "study")
    assert str(tmp_path / "study") in capsys.readouterr().out


def test_an_error_is_one_line_on_stderr_and_exit_code_1(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["new", str(tmp_path / "file")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"vstain: workspace '{tmp_path / 'file'}': is a file; choose a folder.\n"


def test_debug_shows_the_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "napari_vstain", "new", str(tmp_path / "file"), "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_for_a_program_the_error_is_a_json_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["new", str(tmp_path / "file"), "--progress", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "event": "error",
        "type": "WorkspaceError",
        "field": "workspace",
        "value": str(tmp_path / "file"),
        "rule": "is a file",
        "remedy": "choose a folder",
    }


def test_a_stage_outside_a_workspace_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["preprocess", "cells"]) == 1
    assert "make one with `vstain new FOLDER`" in capsys.readouterr().err


def test_a_stage_finds_the_workspace_above_the_current_folder(tmp_path, monkeypatch, capsys):
    Workspace.create(tmp_path)
    monkeypatch.chdir(tmp_path / "models")
    assert main(["preprocess", "cells"]) == 1
    assert "dataset 'cells': the workspace has no dataset" in capsys.readouterr().err


def test_what_a_verb_needs_is_asked_for(capsys):
    assert main(["preprocess"]) == 2
    assert "give DATASET" in capsys.readouterr().err


def _seconds(code: str) -> float:
    began = time.perf_counter()
    assert python(code).returncode == 0
    return time.perf_counter() - began


def test_the_next_command_can_be_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "my study"]) == 0
    assert "Next: cd 'my study', then" in capsys.readouterr().err
