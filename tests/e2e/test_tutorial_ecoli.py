"""The tutorial's commands run as they are printed, on the images it names; only the training is shortened."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from napari_vstain.cli import main

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "ecoli.md"
SHORTER = {"train": ["--epochs", "2", "--batches-per-epoch", "8"]}


def commands(document: Path) -> list[list[str]]:
    """Return the lines of a document's bash blocks, as a shell would split them."""
    blocks = re.findall(r"^```bash\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture
def public_folder(tmp_path: Path, real_data: Path) -> Path:
    """The public repository's `data` folder under its own names, as `git clone` would have made it."""
    images = real_data / "ecoli_phase_fluorescence"
    data = tmp_path / "bootcamp" / "data"
    (data / "HG105_images").mkdir(parents=True)
    for field in range(9):
        for channel in ("phase", "FITC"):
            source = images / f"ecoli_HG105_{field}_{channel.lower()}.tif"
            (data / "HG105_images" / f"noLac_{channel}_{field:04}.tif").symlink_to(source)
    for channel in ("phase", "cfp"):
        (data / f"bsub_100x_{channel}.tif").symlink_to(images / f"bsub_100x_{channel}.tif")
    return tmp_path


@pytest.mark.real_data("ecoli_phase_fluorescence")
def test_every_command_of_the_tutorial_works(public_folder, monkeypatch, capfd):
    monkeypatch.chdir(public_folder)
    for words in commands(TUTORIAL):
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
        elif words[0] == "vstain":
            assert main([*words[1:], *SHORTER.get(words[1], [])]) == 0, capfd.readouterr().err
        else:
            assert words[:2] == ["git", "clone"], f"the test does not know how to run {words}"
    study = public_folder / "ecoli-study"
    table = pd.read_csv(study / "evaluation" / "phase-to-fluo" / "metrics.csv")
    assert (study / "evaluation" / "phase-to-fluo" / "predictions.zarr" / "0" / "0" / "0008").is_dir()
    assert {"model", "baseline"} <= set(table["predictor"])
    assert table["pearson"].notna().all()
    assert len(list((study / "deployment" / "phase-to-fluo").glob("*.onnx"))) == 1
