"""How an image looks: the spatial spectrum and the intensities of small patches spread over it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.data import Position

Float = npt.NDArray[np.float64]
PATCH_PX = 128
MOST = 6
"""Patches along Y and along X."""
_SLICES = 3
_BINS = np.geomspace(1 / 64, 0.5, 13)
"""Edges of the spectrum's radial bins, in cycles per pixel."""
_QUANTILES = (1, 5, 25, 50, 75, 95, 99)
N_BINS, N_QUANTILES = len(_BINS) - 1, len(_QUANTILES)


@dataclass(frozen=True)
class Look:
    """How the patches of one channel of one position look."""

    features: Float
    """(patches, features): log spectrum without its mean, quantiles of the standardized intensities, and the mean over
    the standard deviation; the last two compressed by asinh."""
    mean: float
    std: float
    """Of all patches together, in the channel's units."""


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


def looks_of(image: Any) -> list[Look | None]:
    """Return how each channel of an image, (C, Z, Y, X), looks; None for one without structure."""
    return [_look(_patches(image, channel)) for channel in range(image.shape[0])]


def _look(patches: list[Float]) -> Look | None:
    values = np.concatenate([patch.ravel() for patch in patches]) if patches else np.zeros(0)
    std = float(values.std()) if values.size else 0.0
    if not std > 0:
        return None
    mean = float(values.mean())
    found = [_features(patch, mean, std) for patch in patches if patch.max() > patch.min()]
    return Look(np.stack(found), mean, std)


def _features(patch: Float, mean: float, std: float) -> Float:
    quantiles = np.percentile((patch - mean) / std, _QUANTILES)
    return np.concatenate([_spectrum(patch), np.arcsinh(quantiles), [np.arcsinh(mean / std)]])


def _spectrum(patch: Float) -> Float:
    """Return the log of the radial power spectrum, less its mean; small patches' empty bins take their neighbours'."""
    height, width = patch.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    centred = (patch - np.average(patch, weights=window)) * window
    power = np.abs(np.fft.rfft2(centred)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    bins = np.digitize(radius.ravel(), _BINS)
    sums = np.bincount(bins, power.ravel(), N_BINS + 2)[1:-1]
    counts = np.bincount(bins, minlength=N_BINS + 2)[1:-1]
    filled = counts > 0
    least = max(1e-10 * float(power.max()), np.finfo(float).tiny)
    logs = np.log(np.maximum(sums[filled] / counts[filled], least))
    whole = np.interp(np.arange(N_BINS), np.flatnonzero(filled), logs)
    return np.asarray(whole - whole.mean(), np.float64)


def _patches(image: Any, channel: int) -> list[Float]:
    """Return patches of a channel spread over its slices and its plane; what is not finite is the patch's mean."""
    _, depth, height, width = image.shape
    slices = sorted({round((index + 0.5) * depth / min(depth, _SLICES) - 0.5) for index in range(min(depth, _SLICES))})
    rows, columns = _starts(height), _starts(width)
    found = []
    for z in slices:
        for y in rows:
            for x in columns:
                block = np.asarray(image[channel, z, y : y + PATCH_PX, x : x + PATCH_PX], np.float64)
                if (filled := _filled(block)) is not None:
                    found.append(filled)
    return found


def _starts(size: int) -> list[int]:
    count = min(max(size // PATCH_PX, 1), MOST)
    return [round(start) for start in np.linspace(0, max(size - PATCH_PX, 0), count)]


def _filled(block: Float) -> Float | None:
    good = np.isfinite(block)
    if good.all():
        return block
    return np.where(good, block, block[good].mean()) if good.mean() > 0.5 else None
