"""A simulated microscope: Zernike phase contrast by Abbe's sum over the annulus, wide-field fluorescence, a camera."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Array


@dataclass(frozen=True)
class ObjectiveLens:
    """A phase-contrast objective. Lengths in micrometres."""

    aperture: float = 0.75
    wavelength: float = 0.55
    ring: tuple[float, float] = (0.25, 0.32)
    """Inner and outer edge of the phase ring and of its image in the condenser, as numerical aperture."""
    transmission: float = 0.25
    """Intensity that the ring lets through."""
    source_points: int = 12

    def phase_contrast(self, path_um: Array, spacing_um: float, defocus_um: float = 0.0) -> Array:
        """Return the intensity of the image of an optical path difference, (Y, X), relative to the background.

        Each point of the annulus lights the object with a tilted plane wave; the images add up in intensity
        (Born & Wolf, Principles of Optics, §10.5; Zernike 1942).
        """
        from scipy import fft

        object_wave = np.exp(2j * np.pi * path_um / self.wavelength).astype(np.complex64)
        spectrum = fft.fft2(object_wave)
        pupil = self._pupil(path_um.shape, spacing_um, defocus_um)
        image = np.zeros(path_um.shape, np.float32)
        for shift in self._source(path_um.shape, spacing_um):
            wave = fft.ifft2(np.roll(spectrum, shift, (0, 1)) * pupil)
            image += np.abs(wave) ** 2
        image /= np.float32(self.source_points * self.transmission)
        return image

    def _source(self, shape: tuple[int, ...], spacing_um: float) -> list[tuple[int, int]]:
        """Return the tilts of the light as whole steps of the discrete spectrum, so that each is periodic."""
        radius = sum(self.ring) / 2 / self.wavelength
        angles = 2 * np.pi * np.arange(self.source_points) / self.source_points
        return [
            (round(radius * np.sin(a) * shape[0] * spacing_um), round(radius * np.cos(a) * shape[1] * spacing_um))
            for a in angles
        ]

    def _pupil(self, shape: tuple[int, ...], spacing_um: float, defocus_um: float) -> npt.NDArray[np.complex64]:
        y, x = (np.fft.fftfreq(n, spacing_um).astype(np.float32) for n in shape)
        squared = (y[:, None] ** 2 + x[None, :] ** 2) * np.float32(self.wavelength**2)
        aperture = np.sqrt(squared)
        inside = aperture <= self.aperture
        # Quarter-wave ring: the direct light is advanced and weakened, so that thick parts look dark.
        in_ring = (aperture >= self.ring[0]) & (aperture <= self.ring[1])
        ring = np.where(in_ring, -1j * np.sqrt(self.transmission), 1)
        travel = np.sqrt(np.maximum(1 - squared, 0)) - 1
        pupil: npt.NDArray[np.complex64] = inside * ring * np.exp(2j * np.pi * defocus_um / self.wavelength * travel)
        return pupil.astype(np.complex64)


def fluorescence(
    stain: Array, spacing_um: float, aperture: float, wavelength_um: float, defocus_um: float = 0.0
) -> Array:
    """Return the wide-field image of a stain, (Y, X): its sharp image plus the haze from out of focus."""
    from scipy.ndimage import gaussian_filter

    sharp = 0.21 * wavelength_um / aperture
    spread = np.hypot(sharp, 0.4 * aperture * defocus_um)
    focused = gaussian_filter(stain, spread / spacing_um, mode="reflect")
    haze = gaussian_filter(stain, 6.0 / spacing_um, mode="reflect", truncate=3)
    blurred: Array = 0.8 * focused + 0.2 * haze
    return blurred


def expose(
    random: np.random.Generator, photons: Array, *, gain: float = 0.6, offset: float = 100.0, read_noise: float = 1.6
) -> npt.NDArray[np.uint16]:
    """Return what a camera counts: shot noise, read noise, an offset, 16 bits.

    Parameters
    ----------
    photons : (Y, X)
        Expected photo-electrons in each pixel.
    gain : float
        Counts an electron.
    read_noise : float
        Standard deviation, in electrons.
    """
    electrons = random.poisson(np.maximum(photons, 0)) + random.normal(0, read_noise, photons.shape)
    return np.clip(np.rint(offset + gain * electrons), 0, 65535).astype(np.uint16)
