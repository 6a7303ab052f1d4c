"""Properties are judged by their result, not by how fast a busy machine finds it; no user's cache is touched.

Also what tests of several layers share: a small disk, a plate, a workspace.
"""

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from napari_vstain.core.workspace import Workspace

os.environ.setdefault("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")  # a thread that touches a layer is an error
os.environ.setdefault("VSTAIN_WARM_UP", "0")  # no imports in the background of a test
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script: children would be deaf too
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_DATA = "VSTAIN_REAL_DATA"
"""The variable that names the folder of real microscopy images."""

settings.register_profile("vstain", deadline=None)
settings.load_profile("vstain")


@pytest.hookimpl(tryfirst=True)  # before `-m real_data` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses `real_data`, and skip it before anything is set up where the images are not there.

    A fixture that skips midway leaves others half set up, and their ends fail: no such test can be written.
    """
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
        if (mark := item.get_closest_marker("real_data")) and (missing := _missing(mark.args)):
            item.add_marker(pytest.mark.skip(reason=missing))


def _missing(folders: tuple[str, ...]) -> str:
    root = os.environ.get(REAL_DATA)
    if not root:
        return f"needs real images: set {REAL_DATA} to their folder"
    return next((f"needs {name} in ${REAL_DATA}" for name in ("", *folders) if not (Path(root) / name).is_dir()), "")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real microscopy images; its tests are skipped where there is none."""
    return Path(os.environ[REAL_DATA])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSTAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("VSTAIN_CONFIG", str(tmp_path_factory.mktemp("config")))
        yield


_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test preselects a model that another one used."""
    monkeypatch.setenv("VSTAIN_STATE", str(tmp_path_factory.getbasetemp() / "state" / str(next(_numbers))))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def booby_trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, full of files named like libraries, none of which may be run."""
    folder, sprung = tmp_path / "trapped", tmp_path / "sprung"
    folder.mkdir()
    for name in ("onnx", "random", "zarr", "yaml", "statistics", "torch", "numpy", "json", "pydantic", "napari_vstain"):
        (folder / f"{name}.py").write_text(f"open({str(sprung)!r}, 'a').write('{name} ')\nraise SystemExit(99)\n")
    monkeypatch.chdir(folder)
    yield folder
    assert not sprung.exists(), sprung.read_text()


@pytest.fixture(scope="session")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six simulated fields."""
    from napari_vstain.core.simulation import simulate_plate

    return simulate_plate(tmp_path_factory.mktemp("plate") / "cells.zarr", wells=("A/1", "B/2"), fields=3, size=160)


@pytest.fixture
def workspace(tmp_path: Path, plate: Path) -> Workspace:
    """A workspace to which the plate is linked."""
    made = Workspace.create(tmp_path / "study")
    made.link_dataset(plate)
    return made
