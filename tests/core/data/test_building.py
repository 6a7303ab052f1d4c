"""A store that is being built is not there yet; what a killed process left of it goes."""

import subprocess
import sys

import pytest

from napari_vstain.core.data.building import building
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.owners import Owner

KILLED = """
import os, signal, sys
from pathlib import Path
from napari_vstain.core.data.building import building
with building(Path(sys.argv[1])) as folder:
    folder.mkdir()
    (folder / "chunk").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def build(path, error=None):
    with building(path) as folder:
        folder.mkdir()
        assert not path.exists()
        if error:
            raise error


def test_a_store_is_there_when_it_is_whole_and_nothing_else_is(tmp_path):
    build(tmp_path / "cells.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.zarr"]


def test_a_store_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        build(tmp_path / "cells.zarr", RuntimeError())
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_there_is_refused(tmp_path):
    build(tmp_path / "cells.zarr")
    with pytest.raises(DatasetError, match="is there already"):
        build(tmp_path / "cells.zarr")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot kill itself like this there")
def test_what_a_killed_process_left_goes_with_the_next_one_in_that_folder(tmp_path):
    path = tmp_path / "cells.zarr"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert killed.returncode == -9
    assert len(list(tmp_path.glob(".cells.*.partial"))) == 1
    build(tmp_path / "other.zarr")
    assert {entry.name for entry in tmp_path.iterdir()} == {"other.zarr"}


@pytest.mark.parametrize("owner", [Owner.me(), Owner("another-machine", "b", 1, 1, "u")])
def test_what_a_living_process_or_another_machine_builds_is_left_alone(tmp_path, owner):
    theirs = tmp_path / f".cells.zarr.{owner}.partial"
    theirs.mkdir()
    build(tmp_path / "cells.zarr")
    assert theirs.is_dir()
