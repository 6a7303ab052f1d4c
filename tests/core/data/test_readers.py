"""Importing knows no format: a reader that names a suffix is all that another one needs."""

import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_vstain.core.data import ImportSettings, importing, open_dataset, run_import, source_files
from napari_vstain.core.data.layouts import pattern
from napari_vstain.core.data.readers import registry
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

PIXELS = np.random.default_rng(0).integers(0, 999, (2, 1, 3, 24, 28), "uint16")
"""T, C, Z, Y, X."""


@dataclass(frozen=True)
class NumpyImage:
    path: Path
    name: str = ""
    shape: tuple[int, ...] = PIXELS.shape
    dtype: np.dtype = PIXELS.dtype
    channels: tuple[str, ...] = ()
    spacing_um: tuple[float, float, float] = (1.0, 0.2, 0.2)
    pages_are_slices: bool = False

    @property
    def first_plane(self):
        return str(self.path), 0

    def plane(self, t, c, z):
        return np.load(self.path)[t, c, z]

    def planes(self, c):
        pixels = np.load(self.path)
        yield from ((t, z, pixels[t, c, z]) for t in range(len(pixels)) for z in range(pixels.shape[2]))


def test_a_format_is_imported_once_a_reader_names_its_suffixes(tmp_path, monkeypatch):
    reader = registry.Reader((".npy", ".numpy"), lambda path, stated: [NumpyImage(path)])
    monkeypatch.setattr(registry, "READERS", {**registry.READERS, ".npy": reader, ".numpy": reader})
    source = tmp_path / "images"
    source.mkdir()
    for name in ("a_phase.npy", "a_gfp.NPY", "b_phase.npy", "b_gfp.npy", "aside.npy"):
        with (source / name).open("wb") as file:
            np.save(file, PIXELS)
    (source / "c_phase.txt").touch()
    workspace = Workspace.create(tmp_path / "workspace")
    settings = ImportSettings(source=source, pattern="{position}_{channel}.npy", name="plate")
    result = run_import(settings, workspace, Progress())
    assert result.positions == ("0/0/a", "0/0/b")
    assert result.channels == ("gfp", "phase")
    assert "aside.npy" in result.notes[0]
    assert "c_phase" not in result.notes[0]
    position = open_dataset(result.dataset).position("0/0/a")
    assert position.spacing_um == (1.0, 0.2, 0.2)
    np.testing.assert_array_equal(position.read(["phase"], 1)[0], PIXELS[1, 0])


def test_a_suffix_that_nobody_names_is_tried_as_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "stack.lsm2", PIXELS[0, 0], imagej=True)
    (image,) = registry.open_image_file(tmp_path / "stack.lsm2")
    assert image.shape[3:] == PIXELS.shape[3:]
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DatasetError, match="is no TIFF that can be read"):
        registry.open_image_file(tmp_path / "notes.txt")


@pytest.mark.parametrize("module", [importing, source_files, pattern])
def test_what_imports_names_no_format(module):
    code = inspect.getsource(module)
    assert "TiffHeader" not in code
    assert "tifffile" not in code
    assert "readers.tiff" not in code
