"""An image larger than what is held at once is predicted in memory that does not grow with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from napari_vstain.core.inference.tile_budget import free_bytes, pixels_at_once, tile_size

from .networks import spec_of

MEASURED = """
import sys, resource
sys.path.insert(0, {tests!r})
import numpy as np
from core.inference.plates import predictor_of
from napari_vstain.core.data import create_plate
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

rows, root = int(sys.argv[1]), sys.argv[2]
workspace = Workspace.create(root)
with create_plate(workspace.new_dataset("large"), ["Extra", "Phase"]) as writer:
    array = writer.add_position("A/1/0", (1, 2, 1, rows, 1024), np.float32)
    for row in range(0, rows, 512):
        array[0, 1, 0, row : row + 512] = np.random.default_rng(row).normal(100, 20, (512, 1024))
run(PredictSettings(dataset="large", experiment="test", tile_px=1024), workspace, Progress(), predictor=predictor_of())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kb(rows, folder):
    script = MEASURED.format(tests=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", script, str(rows), str(folder)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of a process is read from getrusage")
def test_peak_memory_does_not_grow_with_the_image(tmp_path):
    small, large = peak_kb(4096, tmp_path / "small"), peak_kb(32768, tmp_path / "large")
    assert large <= 1.2 * small
    assert large - small < 64 * 1024  # the image alone has 128 MB


def test_a_tile_takes_no_more_pixels_than_fit():
    for pixels in (1, 10**6, 10**7, 10**8):
        z, y, x = tile_size((7, 5000, 300), spec_of(3), pixels)
        halo = spec_of(3).halo[1]
        assert y % 512 == x % 512 == 0
        assert y == 512 or z * (y + 2 * halo) * (min(x, 300) + 2 * halo) <= max(pixels, 1)


def test_some_memory_is_free():
    assert free_bytes() > 1 << 20
    assert pixels_at_once(0) == 1
