"""The shift between two channels of one field, in whole pixels, found where their structures match best."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Image

LEAST_CORRELATION = 0.15
"""Below this, the structures of two channels have so little in common that a shift means nothing."""


@dataclass(frozen=True)
class Shift:
    """How far a channel lies from the reference: pixel (y, x) of the reference is (y + dy, x + dx) of the channel."""

    y_px: int = 0
    x_px: int = 0
    correlation: float = 1.0
    """Pearson correlation of the structures at this shift; negative when one is dark where the other is bright."""
    at_limit: bool = False
    """True when the best match is at the edge of what was searched, so that the true one may lie beyond."""

    @property
    def trusted(self) -> bool:
        """True when the match is clear."""
        return abs(self.correlation) >= LEAST_CORRELATION and not self.at_limit


def find_shift(reference: Image, channel: Image, limit_px: int = 16, finest_px: float = 2.0) -> Shift:
    """Return the shift of `channel` against `reference`, both (Y, X) of one shape.

    Both are band-passed, so that neither uneven light nor noise counts, and cross-correlated; the strongest
    correlation of either sign within `limit_px` wins, since phase and fluorescence may be of opposite contrast.
    """
    # skimage's phase_cross_correlation searches all shifts, wrapped round, and gives no correlation at the one it
    # finds: here both the limit and the correlation's sign and size decide whether a shift is believed.
    first, second = (_structures(image, finest_px) for image in (reference, channel))
    correlation = _cross_correlation(first, second, limit_px)
    row, column = np.unravel_index(int(np.argmax(np.abs(correlation))), correlation.shape)
    y, x = int(row) - limit_px, int(column) - limit_px
    return Shift(y, x, float(correlation[row, column]), limit_px in (abs(y), abs(x)))


def _structures(image: Image, finest_px: float) -> npt.NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    pixels = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    band: npt.NDArray[np.float32] = gaussian_filter(pixels, finest_px) - gaussian_filter(pixels, 6 * finest_px)
    band -= band.mean()
    return band


def _cross_correlation(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], limit_px: int
) -> npt.NDArray[np.float32]:
    """Return the correlation at shifts from -limit to +limit along (Y, X), zero-padded against wrapping round."""
    from scipy import fft

    size = [fft.next_fast_len(n + limit_px, real=True) for n in first.shape]
    spectrum = np.conj(fft.rfft2(first, size)) * fft.rfft2(second, size)
    norm = float(np.sqrt(np.square(first).sum(dtype=np.float64) * np.square(second).sum(dtype=np.float64)))
    steps = np.arange(-limit_px, limit_px + 1)
    near: npt.NDArray[np.float32] = fft.irfft2(spectrum, size)[np.ix_(steps, steps)]
    return near / norm if norm > 0 else near * 0
