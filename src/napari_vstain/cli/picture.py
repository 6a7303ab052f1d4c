"""A picture that lets a person judge a prediction: source, target and prediction side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from napari_vstain.core.files import atomically

Plane = npt.NDArray[Any]
_GAP, _CAPTION, _FONT_PX = 8, 24, 15
_MAX_SIDE = 512


class Panel(NamedTuple):
    """One image of the picture."""

    title: str
    image: Plane
    """(Y, X), any unit; NaN is drawn black."""
    limits: tuple[float, float]
    """The intensities that are drawn black and white."""


def limits_of(image: Plane, low: float = 1, high: float = 99.8) -> tuple[float, float]:
    """Return the intensities at two percentiles of the finite pixels, never equal."""
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    bottom, top = np.percentile(finite, (low, high)) if finite.size else (0.0, 1.0)
    return float(bottom), float(top if top > bottom else bottom + 1)


def save_picture(path: Path, rows: Sequence[Sequence[Panel]]) -> None:
    """Write the panels as a PNG, atomically; every row has as many as the first, all of one shape."""
    picture = draw(rows)
    with atomically(path) as temporary:
        picture.save(temporary, format="PNG")


def draw(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Return the panels in a grid, each under its title; large images show their centre."""
    height, width = _centre(rows[0][0].image).shape
    across = max(len(row) for row in rows)
    size = (across * (width + _GAP) + _GAP, len(rows) * (height + _CAPTION + _GAP) + _GAP)
    picture = Image.new("L", size, 255)
    for line, row in enumerate(rows):
        for column, panel in enumerate(row):
            corner = (_GAP + column * (width + _GAP), _GAP + line * (height + _CAPTION + _GAP))
            _draw_panel(picture, panel, corner)
    return picture


def _draw_panel(picture: Image.Image, panel: Panel, corner: tuple[int, int]) -> None:
    left, top = corner
    ImageDraw.Draw(picture).text((left, top), panel.title, fill=0, font=ImageFont.load_default(_FONT_PX))
    picture.paste(Image.fromarray(_grey(_centre(panel.image), panel.limits)), (left, top + _CAPTION))


def _grey(image: Plane, limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    low, high = limits
    values = (np.nan_to_num(image.astype(np.float32), nan=low) - low) / (high - low)
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def _centre(image: Plane) -> Plane:
    """Return the middle of an image, at most 512 px a side."""
    cut = tuple(
        slice(max(0, (side - _MAX_SIDE) // 2), max(0, (side - _MAX_SIDE) // 2) + _MAX_SIDE) for side in image.shape
    )
    return image[cut]
