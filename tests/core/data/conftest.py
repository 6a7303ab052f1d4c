"""Disks that refuse, and real images."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only the superuser of a Unix system can mount a small disk")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def real_data():
    """The folder of real images."""
    root = os.environ.get("VSTAIN_REAL_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real images: set VSTAIN_REAL_DATA to their folder")
    return Path(root)
