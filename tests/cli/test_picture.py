"""The picture shows what is in the arrays: same place, same order of brightness, one scale for both stains."""

import numpy as np
from PIL import Image

from napari_vstain.cli.picture import Panel, draw, limits_of, save_picture


def test_panels_stand_side_by_side_under_their_titles(tmp_path):
    ramp = np.linspace(0, 100, 40 * 60, dtype=np.float32).reshape(40, 60)
    save_picture(tmp_path / "x.png", [[Panel("source", ramp, (0, 100)), Panel("target", ramp * 0, (0, 100))]])
    with Image.open(tmp_path / "x.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (8 + 24 + 40 + 8, 2 * 68 + 8)
    assert np.abs(pixels[32:72, 8:68] - ramp * 2.55).max() <= 0.51
    assert not pixels[32:72, 76:136].any()
    assert pixels[8:32, 8:68].min() < 100, "the title is drawn"


def test_large_images_show_their_centre():
    image = np.zeros((600, 512), np.uint16)
    image[300, 256] = 9
    pixels = np.asarray(draw([[Panel("", image, (0, 9))]]))
    assert pixels.shape == (8 + 24 + 512 + 8, 8 + 512 + 8)
    assert pixels[32 + 300 - 44, 8 + 256] == 255


def test_limits_ignore_what_is_no_number_and_are_never_equal():
    assert limits_of(np.array([[np.nan, 2.0], [2.0, np.inf]])) == (2, 3)
    assert limits_of(np.full((2, 2), np.nan)) == (0, 1)
    assert limits_of(np.arange(1001).reshape(7, 143), 0, 100) == (0, 1000)
