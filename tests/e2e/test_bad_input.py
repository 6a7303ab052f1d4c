"""Bad input at the command line: one clear sentence, exit code 1, and nothing half-written."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_vstain.cli import main
from napari_vstain.core.data import create_plate
from napari_vstain.core.workspace import Workspace

PATTERN = "{position}_{channel}.tif"


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    made = Workspace.create(tmp_path / "study")
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def images(tmp_path) -> Path:
    """Two positions of a source and a target, float32."""
    random = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for position in ("a", "b"):
        for channel in ("phase", "stain"):
            tifffile.imwrite(folder / f"{position}_{channel}.tif", random.normal(100, 9, (96, 80)).astype("float32"))
    return folder


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder that this process may read and not write, even when root runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
            Path(name).chmod(0o755)


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused, and return its one sentence."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == 1
        said = capsys.readouterr()
        assert said.out == ""
        *progress, sentence = said.err.splitlines()
        assert re.fullmatch(r"vstain: .+: .+; .+\.", sentence), said.err
        assert "unexpected" not in sentence
        assert not any("Error" in line for line in progress)
        return sentence

    return run


def imported(images: Path, name: str = "cells") -> None:
    assert main(["import", str(images), "--name", name, "--pattern", PATTERN, "--progress", "none"]) == 0


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_folder_that_is_no_zarr(workspace, images, refused):
    before = tree(images)
    assert "zarr" in refused("preprocess", str(images)).lower()
    assert tree(images) == before


def test_a_dataset_that_is_not_there(workspace, refused):
    assert "the workspace has no dataset" in refused("preprocess", "cells")


@pytest.mark.parametrize("damage", ["half of the metadata", "no metadata of the pixels", "half of a chunk"])
def test_a_truncated_zarr(workspace, images, refused, damage):
    imported(images)
    store = workspace.dataset("cells")
    array = next(
        path.parent for path in store.rglob("zarr.json") if json.loads(path.read_text())["node_type"] == "array"
    )
    if damage == "half of the metadata":
        path = array.parent / "zarr.json"
        path.write_text(path.read_text()[: path.stat().st_size // 2])
    elif damage == "no metadata of the pixels":
        (array / "zarr.json").unlink()
    else:
        chunk = next(path for path in (array / "c").rglob("*") if path.is_file())
        chunk.write_bytes(chunk.read_bytes()[: chunk.stat().st_size // 2])
    before = tree(workspace.root)
    sentence = refused("preprocess", "cells", "--strict")
    assert str(array.parent) in sentence or "0/0" in sentence or "/a" in sentence
    assert tree(workspace.root) == before


def test_a_missing_channel(workspace, images, refused):
    imported(images)
    sentence = refused("preprocess", "cells", "--channels", "moon")
    assert "moon" in sentence
    assert "phase" in sentence


def test_source_and_target_of_different_shapes(workspace, images, refused):
    tifffile.imwrite(images / "b_stain.tif", np.ones((96, 79), "float32"))
    sentence = refused("import", str(images), "--name", "cells", "--pattern", PATTERN, "--strict")
    assert "79" in sentence
    assert "80" in sentence
    assert not tree(workspace.datasets)


def test_a_position_without_its_target(workspace, images, refused):
    (images / "b_stain.tif").unlink()
    assert "stain" in refused("import", str(images), "--name", "cells", "--pattern", PATTERN, "--strict")
    assert not tree(workspace.datasets)


def test_a_file_that_is_no_tiff(workspace, images, refused):
    (images / "b_stain.tif").write_bytes(b"not a picture")
    assert "b_stain.tif" in refused("import", str(images), "--name", "cells", "--pattern", PATTERN, "--strict")
    assert not tree(workspace.datasets)


def test_a_position_that_cannot_be_imported_is_named_and_the_other_one_is(workspace, images, capsys):
    (images / "b_stain.tif").write_bytes(b"not a picture")
    imported(images)
    said = capsys.readouterr().err
    assert re.search(r"Imported 1 of 2 positions: b cannot be used: file \S+b_stain.tif is no TIFF", said)


def test_nothing_of_a_library_stands_before_the_sentence(workspace, images):
    """The tags of a file are noise: tifffile logs a line for every one of them."""
    path = images / "b_stain.tif"
    content = bytearray(path.read_bytes())
    start = int.from_bytes(content[4:8], "little")
    content[start + 2 : start + 60] = b"\xff" * 58
    path.write_bytes(content)
    command = [sys.executable, "-m", "napari_vstain", "import", str(images), "--name", "cells", "--pattern", PATTERN]
    done = subprocess.run([*command, "--strict", "--progress", "none"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"vstain: .+: .+; .+\.\n", done.stderr), done.stderr
    assert not tree(workspace.datasets)


def test_a_pattern_that_matches_nothing(workspace, images, refused):
    assert "matches no file" in refused(
        "import", str(images), "--name", "cells", "--pattern", "{position}.{channel}.tif"
    )


def test_nan_pixels_are_left_out_and_said(workspace, images, capsys):
    pixels = tifffile.imread(images / "a_stain.tif")
    pixels[::8, ::8][:3] = np.nan
    tifffile.imwrite(images / "a_stain.tif", pixels)
    imported(images)
    assert main(["preprocess", "cells"]) == 0
    said = capsys.readouterr()
    assert re.search(r"stain at \S+: left out \d+ pixels, which are NaN or infinite", said.err)
    table = said.out.split("Intensities")[1].split("dataset")[0]
    assert "stain" in table
    assert "nan" not in table


def test_a_constant_image_is_left_out_and_said(workspace, images, capsys):
    tifffile.imwrite(images / "a_stain.tif", np.full((96, 80), 7, "float32"))
    imported(images)
    assert main(["preprocess", "cells"]) == 0
    assert re.search(r"Preprocessed 2 positions; left out: \S+ is empty or constant in stain", capsys.readouterr().err)


def test_a_channel_that_is_constant_everywhere(workspace, images, refused, capsys):
    for position in "ab":
        tifffile.imwrite(images / f"{position}_stain.tif", np.full((96, 80), 7, "float32"))
    imported(images)
    assert "stain" in refused("preprocess", "cells", "--strict")
    assert main(["preprocess", "cells"]) == 0
    assert "is empty or constant in stain" in capsys.readouterr().err


def test_an_empty_plate(workspace, refused):
    with create_plate(workspace.new_dataset("empty"), ("phase", "stain")):
        pass
    assert "position" in refused("preprocess", "empty")


def test_a_dataset_of_the_same_name(workspace, images, refused):
    imported(images)
    before = tree(workspace.root)
    assert "is there already" in refused("import", str(images), "--name", "cells", "--pattern", PATTERN)
    assert tree(workspace.root) == before


def test_a_full_disk(small_disk, images, monkeypatch, refused):
    random = np.random.default_rng(0)
    for path in images.iterdir():
        tifffile.imwrite(path, random.normal(0, 9, (512, 512)).astype("float32"))
    workspace = Workspace.create(small_disk / "study")
    monkeypatch.chdir(workspace.root)
    sentence = refused("import", str(images), "--name", "cells", "--pattern", PATTERN)
    assert "the disk is full" in sentence
    assert not tree(workspace.datasets)
    monkeypatch.chdir("/")


def test_a_disk_that_is_read_only(small_disk, images, monkeypatch, refused):
    workspace = Workspace.create(small_disk / "study")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    sentence = refused("import", str(images), "--name", "cells", "--pattern", PATTERN, "-w", str(workspace.root))
    assert "read-only" in sentence
    assert "read-only" in refused("new", str(small_disk / "another"))


def test_a_folder_that_may_not_be_written(theirs, refused):
    assert "you may not write there" in refused("new", str(theirs / "study"))
    assert not tree(theirs)
