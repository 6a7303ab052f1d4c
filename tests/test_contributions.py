"""napari's reader claims plates and our stores only, and its layers say where they come from."""

import json
import subprocess
import sys

import numpy as np
import pytest
import zarr

from napari_vstain.contributions import get_reader, sample_plate
from napari_vstain.core.data import create_plate, open_dataset
from napari_vstain.core.errors import DatasetError


@pytest.fixture(params=["0.4", "0.5"])
def plate(tmp_path, request):
    path = tmp_path / "p.zarr"
    pixels = np.arange(2 * 2 * 3 * 8 * 9, dtype="uint16").reshape(2, 2, 3, 8, 9)
    with create_plate(path, ["Phase", "DAPI"], version=request.param) as writer:
        for key in ("B/03/0", "B/03/1"):
            writer.add_position(key, pixels.shape, pixels.dtype, (2, 0.5, 0.25), (1, 10, 20))[:] = pixels
        writer.set_contrast_limits("B/03/0", {"DAPI": (5, 50)})
    return path, pixels


def test_a_plate_opens_at_its_first_position(plate):
    path, pixels = plate
    layers = get_reader(str(path))(str(path))
    assert [(arguments["name"], kind) for _, arguments, kind in layers] == [("Phase", "image"), ("DAPI", "image")]
    data, arguments, _ = layers[1]
    np.testing.assert_array_equal(np.asarray(data), pixels[:, 1])
    assert arguments["scale"] == [1, 2, 0.5, 0.25]
    assert arguments["translate"] == [0, 1, 10, 20]
    assert arguments["units"] == ["pixel", "um", "um", "um"]
    assert arguments["axis_labels"] == ["t", "z", "y", "x"]
    assert arguments["contrast_limits"] == (5, 50)
    assert arguments["metadata"]["vstain"] == {"path": str(path), "position": "B/03/0", "channel": "DAPI"}
    assert open_dataset(arguments["metadata"]["vstain"]["path"]).position("B/03/0").channels[1] == "DAPI"


def test_a_position_of_a_plate_is_claimed_only_when_it_is_ours(plate):
    path, _ = plate
    position = str(path / "B" / "03" / "0")
    assert get_reader(position) is None
    open_dataset(position).position("0/0/0").set_attribute("vstain", {"schema_version": 1})
    assert len(get_reader(position)(position)) == 2


def test_whatever_is_not_ours_is_left_to_others(tmp_path):
    zarr.open_group(tmp_path / "bare.zarr", mode="w")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / ".zattrs").write_text("{")
    (tmp_path / "a.tif").touch()
    image = tmp_path / "image.zarr"
    zarr.open_group(image, mode="w", zarr_format=2).attrs["multiscales"] = [{"axes": [], "datasets": []}]
    for path in ("bare.zarr", "broken.zarr", "a.tif", "nowhere.zarr", "image.zarr"):
        assert get_reader(str(tmp_path / path)) is None
    assert get_reader([str(image), str(image)]) is None


def test_a_damaged_plate_says_so_in_one_sentence(plate):
    path, _ = plate
    read = get_reader(str(path))
    for name in (".zattrs", "zarr.json"):
        if (path / "B" / "03" / name).exists():
            (path / "B" / "03" / name).write_text(json.dumps({"well": 3}))
    with pytest.raises(DatasetError, match=r"cannot be read|is a zarr|list of fields"):
        read(str(path))


def test_an_image_without_contrast_limits_gets_measured_ones(tmp_path):
    with create_plate(tmp_path / "p.zarr", ["a"], version="0.4") as plate:
        pixels = np.linspace(-3, 5, 64 * 64, dtype="float32").reshape(1, 1, 1, 64, 64)
        plate.add_position("A/1/0", pixels.shape, pixels.dtype)[:] = pixels
    attributes = json.loads((tmp_path / "p.zarr/A/1/0/.zattrs").read_text())
    del attributes["omero"]
    (tmp_path / "p.zarr/A/1/0/.zattrs").write_text(json.dumps(attributes))
    ((data, arguments, _),) = get_reader(str(tmp_path / "p.zarr"))(str(tmp_path / "p.zarr"))
    assert data.shape == (64, 64)
    assert arguments["contrast_limits"] == pytest.approx((-3, 5), abs=0.5)
    assert arguments["units"] == ["pixel", "pixel"]


def test_the_sample_plate_is_made_once_and_opens(tmp_path, monkeypatch):
    monkeypatch.setenv("VSTAIN_CACHE", str(tmp_path))
    first, second = sample_plate(), sample_plate()
    assert [arguments["name"] for _, arguments, _ in first] == ["Phase", "Nuclei", "Membrane"]
    path = first[0][1]["metadata"]["vstain"]["path"]
    assert path == second[0][1]["metadata"]["vstain"]["path"]
    assert open_dataset(path).attribute("vstain")["simulated"] is True


def test_napari_makes_layers_of_what_is_read(plate):
    layers = pytest.importorskip("napari.layers")
    path, pixels = plate
    for number, (data, arguments, kind) in enumerate(get_reader(str(path))(str(path))):
        layer = layers.Layer.create(data, arguments, kind)
        assert layer.data.shape == pixels[:, number].shape
        assert tuple(layer.axis_labels) == ("t", "z", "y", "x")


def test_asking_for_a_reader_loads_nothing_heavy(tmp_path):
    create_plate(tmp_path / "p.zarr", ["a"])
    code = (
        "import sys; from napari_vstain.contributions import get_reader\n"
        f"assert get_reader({str(tmp_path / 'p.zarr')!r}) is not None\n"
        "assert not {'zarr', 'dask', 'iohub', 'torch', 'qtpy', 'napari', 'scipy', 'skimage'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
