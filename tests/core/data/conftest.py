"""Real images."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data():
    """The folder of real images."""
    root = os.environ.get("VSTAIN_REAL_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real images: set VSTAIN_REAL_DATA to their folder")
    return Path(root)
