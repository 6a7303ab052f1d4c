"""The sample plate: simulated cells, in several wells, the same for the same seed, labelled as simulated everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Limits
from napari_vstain.core.data.attributes import OURS, SCHEMA_VERSION
from napari_vstain.core.data.building import building
from napari_vstain.core.data.identity import TOKEN
from napari_vstain.core.data.pixels import write_pixels
from napari_vstain.core.data.plate import Version, create_plate
from napari_vstain.core.progress import Progress
from napari_vstain.core.simulation.cells import Scene, draw_scene
from napari_vstain.core.simulation.optics import ObjectiveLens, expose, fluorescence

CHANNELS = ("Phase", "Nuclei", "Membrane")
SPACING_UM = 0.325
SLICE_UM = 2.0
MARGIN_PX = 32
"""Simulated around a field and cut away: the optics see a periodic world."""
_OBJECTIVE = ObjectiveLens()


def simulate_plate(
    path: Path | str,
    seed: int = 0,
    wells: Sequence[str] = ("A/1", "B/2"),
    fields: int = 4,
    size: int = 512,
    *,
    slices: int = 1,
    version: Version = "0.5",
    progress: Progress | None = None,
) -> Path:
    """Write a plate of simulated cells with the channels Phase, Nuclei and Membrane, and return its path.

    Phase is the Zernike phase-contrast image of a monolayer of cells with nuclei, nucleoli and granules; the other
    two are wide-field images of a nuclear and a membrane stain, which the phase image tells only indirectly.

    Parameters
    ----------
    path : Path or str
        The ``.zarr`` folder; must not be there yet.
    seed : int
        The same seed gives the same pixels.
    wells : sequence of str
        ``row/column``; they differ in the size and the density of their cells.
    fields : int
        Positions a well.
    size : int
        Height and width of a position, in pixels of 0.325 um.
    slices : int
        Focal planes, 2 um apart.
    version : {"0.4", "0.5"}
        OME-NGFF version.

    Raises
    ------
    DatasetError
        When something is at `path`.
    StorageError
        When the folder or the disk takes no data.
    """
    report = progress or Progress()
    target = Path(path).expanduser().absolute()
    report.phase("Simulating cells", len(wells) * fields, "fields")
    with building(target) as temporary:
        name = f"{target.name.removesuffix('.zarr')} (simulated)"
        with create_plate(temporary, CHANNELS, version=version, name=name) as plate:
            plate.set_attribute(OURS, _label(seed, plate.token))
            for number, key in enumerate(f"{well}/{field}" for well in wells for field in range(fields)):
                pixels = simulate_field(seed, number // fields, number % fields, size, slices)
                spacing = (SLICE_UM, SPACING_UM, SPACING_UM)
                write_pixels(plate.add_position(key, pixels[None].shape, pixels.dtype, spacing), pixels[None])
                plate.set_contrast_limits(key, _limits(pixels))
                plate.set_attribute(OURS, _label(seed, plate.token), key)
                report.advance()
    return target


def simulate_field(seed: int, well: int, field: int, size: int, slices: int = 1) -> npt.NDArray[np.uint16]:
    """Return one simulated position, (C, Z, Y, X), in camera counts."""
    random = np.random.default_rng([seed, well, field])
    crowding, radius = (0.95, 9.0) if well % 2 == 0 else (0.75, 10.5)
    around = size + 2 * MARGIN_PX
    scene = draw_scene(random, (around, around), SPACING_UM, radius_um=radius, crowding=crowding)
    focus = random.normal(0, 0.4)
    planes = [focus + SLICE_UM * (index - (slices - 1) / 2) for index in range(slices)]
    inner = slice(MARGIN_PX, MARGIN_PX + size)
    return np.stack([_expose_plane(random, scene, defocus)[:, inner, inner] for defocus in planes], axis=1)


def _expose_plane(random: np.random.Generator, scene: Scene, defocus_um: float) -> npt.NDArray[np.uint16]:
    light = _illumination(random, scene.path_um.shape)
    phase = 6000 * light * _OBJECTIVE.phase_contrast(scene.path_um, SPACING_UM, defocus_um)
    images: list[npt.NDArray[np.uint16]] = [expose(random, phase)]
    for stain, wavelength, brightness, background in ((scene.nuclei, 0.46, 220, 60), (scene.membrane, 0.60, 200, 80)):
        blurred = fluorescence(stain, SPACING_UM, _OBJECTIVE.aperture, wavelength, defocus_um)
        images.append(expose(random, brightness * blurred + background))
    return np.stack(images)


def _illumination(random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return uneven light: a few per cent brighter somewhere near the middle."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) - np.float32(random.normal(0, 0.2)) for n in shape)
    return 1 - np.float32(0.06) * (y[:, None] ** 2 + x[None, :] ** 2)


def _limits(pixels: npt.NDArray[np.uint16]) -> dict[str, Limits]:
    percentiles = ((0.1, 99.9), (1, 99.8), (1, 99.8))
    bounds = [np.percentile(channel[:, ::4, ::4], p) for channel, p in zip(pixels, percentiles, strict=True)]
    return {name: (float(low), float(high)) for name, (low, high) in zip(CHANNELS, bounds, strict=True)}


def _label(seed: int, token: str) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, TOKEN: token, "simulated": True, "seed": seed}
