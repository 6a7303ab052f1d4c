"""iohub, which the field shares its plates through, opens ours and reads the same pixels, names and sizes."""

import logging

import numpy as np
import pytest

from napari_vstain.core.data import create_plate, write_pixels

logging.getLogger("iohub").setLevel(logging.ERROR)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_iohub_reads_what_was_written(tmp_path, version):
    from iohub import open_ome_zarr

    pixels = np.random.default_rng(0).integers(0, 999, (2, 2, 3, 40, 52), "uint16")
    with create_plate(tmp_path / "plate.zarr", ["Phase", "GFP"], version=version) as plate:
        for number, key in enumerate(("A/1/0", "B/03/fov1")):
            write_pixels(plate.add_position(key, pixels.shape, pixels.dtype, (2.0, 0.5, 0.25)), pixels + number)
    with open_ome_zarr(tmp_path / "plate.zarr", mode="r") as opened:
        positions = dict(opened.positions())
        assert set(positions) == {"A/1/0", "B/03/fov1"}
        for number, key in enumerate(("A/1/0", "B/03/fov1")):
            assert positions[key].channel_names == ["Phase", "GFP"]
            assert positions[key].scale == [1.0, 1.0, 2.0, 0.5, 0.25]
            np.testing.assert_array_equal(positions[key]["0"][:], pixels + number)
