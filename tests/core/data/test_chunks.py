"""A chunk that was lost on the way is not taken for an empty one."""

import json

import numpy as np
import pytest
import tifffile
import zarr

from napari_vstain.core.data import ImportSettings, open_dataset, run_import
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.preprocessing import PreprocessSettings
from napari_vstain.core.preprocessing import run as preprocess
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

LAYOUTS = {
    "0.4 nested": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "0.4 flat": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "0.5": {},
    "0.5 sharded": {"shards": (1, 1, 1, 32, 32)},
}


def stored(path, layout, **config):
    """Write (1, 2, 1, 64, 64) in chunks of 16 px, of which the first channel is half zero."""
    from napari_vstain.core.data.ngff import image_attributes
    from napari_vstain.core.data.zarr_groups import create_group

    options = LAYOUTS[layout]
    version = "0.4" if "zarr_format" in options else "0.5"
    create_group(path, image_attributes(["a", "b"], None, (0, 0, 0), "u2", version, "i"), 2 if version == "0.4" else 3)
    sizes = {"shape": (1, 2, 1, 64, 64), "chunks": (1, 1, 1, 16, 16)}
    array = zarr.create_array(path / "0", dtype="u2", fill_value=0, config=config, **sizes, **options)
    pixels = np.random.default_rng(0).integers(1, 99, array.shape).astype("u2")
    pixels[0, 0, 0, :32] = 0
    array[...] = pixels
    return path


def chunks(path):
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name not in names)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_chunks_that_are_not_on_disk_are_counted(tmp_path, layout):
    path = stored(tmp_path / "i.zarr", layout, write_empty_chunks=True)
    position = open_dataset(path).position("0/0/0")
    total = 4 if "sharded" in layout else 16
    assert [position.missing_chunks(name) for name in "ab"] == [(0, total), (0, total)]
    chunks(path)[-1].unlink()
    assert [position.missing_chunks(name) for name in "ab"] == [(0, total), (1, total)]


@pytest.mark.parametrize("layout", ["0.4 nested", "0.4 flat", "0.5"])
@pytest.mark.parametrize("length", [2**20, 2**40])
def test_sizes_that_lie_are_counted_at_once(tmp_path, layout, length):
    path = stored(tmp_path / "i.zarr", layout, write_empty_chunks=True)
    metadata = path / "0" / (".zarray" if layout.startswith("0.4") else "zarr.json")
    values = json.loads(metadata.read_text())
    values["shape"][4] = length
    metadata.write_text(json.dumps(values))
    total = 4 * length // 16
    assert open_dataset(path).position("0/0/0").missing_chunks("a") == (total - 16, total)


def test_a_store_that_leaves_out_empty_chunks_is_used_and_said_so(tmp_path):
    path = stored(tmp_path / "i.zarr", "0.5")
    workspace = Workspace.create(tmp_path / "ws")
    result = preprocess(PreprocessSettings(dataset=str(path)), workspace, Progress())
    assert result.positions == ("0/0/0",) and not result.left_out
    assert "a at 0/0/0: 8 of 16 chunks are not on disk and read as empty" in result.warnings[0]


def test_a_channel_without_any_chunk_is_left_out_for_this_reason(tmp_path):
    path = stored(tmp_path / "i.zarr", "0.4 nested")
    for chunk in chunks(path / "0" / "0" / "1"):
        chunk.unlink()
    result = preprocess(PreprocessSettings(dataset=str(path)), Workspace.create(tmp_path / "ws"), Progress())
    assert [str(left_out) for left_out in result.left_out] == ["0/0/0 has none of its 16 chunks of b on disk"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_was_imported_has_every_chunk_and_misses_one_that_is_lost(tmp_path, version):
    (tmp_path / "source").mkdir()
    for position in "pq":
        pixels = np.zeros((2, 600, 600), "u2")
        pixels[1] = 1
        tifffile.imwrite(tmp_path / "source" / f"{position}.tif", pixels, photometric="minisblack")
    settings = {"source": tmp_path / "source", "pattern": "{position}.tif", "name": "n", "axes": "TYX"}
    workspace = Workspace.create(tmp_path / "ws")
    path = run_import(ImportSettings.parse({**settings, "version": version}), workspace, Progress()).dataset
    position = open_dataset(path).position("0/0/p")
    assert position.missing_chunks("Channel 0") == (0, 8)
    chunks(path / "0" / "0" / "p")[0].unlink()
    position = open_dataset(path).position("0/0/p")
    with pytest.raises(DatasetError, match=r"lacks 1 of 4 chunks of Channel 0 at t 0.*copy the dataset again"):
        position.read(["Channel 0"], t=0)
    assert position.read(["Channel 0"], t=1).all()
    assert not open_dataset(path).position("0/0/q").read(["Channel 0"], t=0).any()
