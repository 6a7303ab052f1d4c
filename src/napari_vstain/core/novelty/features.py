"""What an image is like, in a few numbers that change where a prediction breaks.

Measured on a network for bacteria: blur, noise, gamma and zoom hardly cost it anything, while inverted contrast,
clipping and hot pixels cost it half of its correlation. So the numbers that tell are not those of fine structure, but
which way structures point (the skewness of each band), what is cut off (pixels at the extremes), and how much of each
scale there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Float
from napari_vstain.core.data import Position

_BLOCK_PX = 512
"""Every block of this size is looked at."""
PATCH_PX = 256
"""Side of what is read of a block: a quarter of its pixels say what it is like."""
_LEAST = 4
"""Patches along Y and along X of an image that has room for so many, however few blocks it has."""
_SLICES = 3
_LEAST_STD = 1e-3
"""Of a band, in standard deviations of the image: what is less is rounding, and points nowhere."""
_SCALES = 5
"""Bands, each of structures twice as large as the one before: 2 to 32 px."""
_EXTREMES = (0.01, 99.99)
"""Percentiles that stand for darkest and brightest: one hot pixel is no extreme."""
GROUPS = {
    "polarity": slice(0, _SCALES),
    "structure": slice(_SCALES, 2 * _SCALES),
    "saturation": slice(2 * _SCALES, 2 * _SCALES + 2),
    "range": slice(2 * _SCALES + 2, 2 * _SCALES + 4),
}
"""Features by what they tell of, and where they stand; each group is judged by itself, lest one is diluted in all."""
N_FEATURES = 2 * _SCALES + 4


@dataclass(frozen=True)
class Patch:
    """Where a patch lies, in pixels of the image."""

    z: int
    y: int
    x: int


@dataclass(frozen=True)
class Features:
    """What one channel of one time point of a position is like."""

    patches: tuple[Patch, ...]
    moments: Float
    """(patches, 2 scales + 2): mean cube and mean square of each band, and the share at either extreme; these average
    over patches, which the features of a set of patches do not."""
    extremes: Float
    """(patches, 2): the darkest and the brightest."""
    mean: float
    std: float
    """Of all patches together, in the channel's units."""

    def of(self, chosen: Any = slice(None)) -> Float:
        """Return the features of some patches taken together, (features,); NaN for a band that they are too small for.

        All are of the image standardized by its own mean and standard deviation. Polarity: asinh of the skewness of a
        band, which is positive for bright structures on dark ground, as the mean over patches; structure: the log of
        its standard deviation; saturation: the log of the shares; range: asinh of the extremes.
        """
        with np.errstate(all="ignore"):
            _, squares, shares = np.split(self.moments[chosen].mean(0), [_SCALES, 2 * _SCALES])
            each_cubes, each_squares = self.moments[chosen][:, :_SCALES], self.moments[chosen][:, _SCALES : 2 * _SCALES]
            # Each patch counts alike: pooled moments are those of the few patches of strongest contrast, so that a
            # field whose other patches are turned goes unseen, and one dense patch of another kind turns them all.
            skewness = each_cubes / (np.sqrt(each_squares) + _LEAST_STD) ** 3
            low, high = self.extremes[chosen][:, 0].min(), self.extremes[chosen][:, 1].max()
        return np.concatenate(
            [
                np.arcsinh(skewness).mean(0),
                np.log(np.sqrt(squares) + _LEAST_STD),
                np.log10(shares + 1e-3),
                np.arcsinh([low, high]),
            ]
        )


@dataclass(frozen=True)
class PositionImage:
    """Some channels of one time point of a position as an array, (C, Z, Y, X), of which patches are read."""

    position: Position
    channels: tuple[str, ...]
    t: int = 0
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes in pixels."""
        return (len(self.channels), *self.position.shape[2:])

    def __getitem__(self, place: tuple[int, int, slice, slice]) -> npt.NDArray[Any]:
        channel, z, y, x = place
        return np.asarray(self.position.read([self.channels[channel]], self.t, slice(z, z + 1), y, x)[0, 0])


def features_of(image: Any) -> list[Features | None]:
    """Return what each channel of an image, (C, Z, Y, X), is like; None for one without structure."""
    return [_features(list(_patches(image, channel))) for channel in range(image.shape[0])]


def _features(found: list[tuple[Patch, Float]]) -> Features | None:
    values = np.concatenate([pixels.ravel() for _, pixels in found]) if found else np.zeros(0)
    std = float(values.std()) if values.size else 0.0
    if not std > 0:
        return None
    mean = float(values.mean())
    low, high = np.percentile(values, _EXTREMES)
    standard = [(pixels - mean) / std for _, pixels in found]
    cut = (low - mean) / std, (high - mean) / std
    moments = np.stack([np.concatenate([_bands(one), _shares(one, *cut)]) for one in standard])
    extremes = np.stack([np.percentile(one, _EXTREMES) for one in standard])
    return Features(tuple(patch for patch, _ in found), moments, extremes, mean, std)


def _bands(pixels: Float) -> Float:
    """Return the mean cube and the mean square of each band of a patch.

    A band is what a pixel differs from the mean of its 2 × 2 pixels, of an image that is halved from band to band
    (Haar): as telling here as differences of Gaussians, and a tenth of their time.
    """
    cubes, squares = np.full(_SCALES, np.nan), np.full(_SCALES, np.nan)
    for scale in range(_SCALES):
        height, width = (size // 2 for size in pixels.shape)
        if not (height and width):
            break
        cells = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
        pixels = cells.mean((1, 3))
        band = cells - pixels[:, None, :, None]
        square = band * band
        squares[scale], cubes[scale] = square.mean(), (square * band).mean()
    return np.concatenate([cubes, squares])


def _shares(pixels: Float, low: float, high: float) -> Float:
    """Return the share of pixels at the image's darkest and at its brightest."""
    return np.array([(pixels <= low).mean(), (pixels >= high).mean()])


def _patches(image: Any, channel: int) -> Iterator[tuple[Patch, Float]]:
    """Yield patches of a channel spread over its slices and its plane; what is not finite is the patch's mean."""
    _, depth, height, width = image.shape
    for z in sorted({round((index + 0.5) * depth / min(depth, _SLICES) - 0.5) for index in range(min(depth, _SLICES))}):
        for y in _starts(height):
            for x in _starts(width):
                block = np.asarray(image[channel, z, y : y + PATCH_PX, x : x + PATCH_PX], np.float64)
                if (filled := _filled(block)) is not None:
                    yield Patch(z, y, x), filled


def _starts(size: int) -> list[int]:
    """Return where patches start: one in each block, or side by side in an image of few blocks."""
    count = max(-(-size // _BLOCK_PX), min(size // PATCH_PX, _LEAST), 1)
    return [round(start) for start in np.linspace(0, max(size - PATCH_PX, 0), count)]


def _filled(block: Float) -> Float | None:
    good = np.isfinite(block)
    if good.all():
        return block
    return np.where(good, block, block[good].mean()) if good.mean() > 0.5 else None
