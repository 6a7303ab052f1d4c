"""Simulated cells: thickness, refractive index and stain of a monolayer, drawn at random from a seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_vstain.core.arrays import Array

CYTOPLASM, NUCLEUS, NUCLEOLUS, GRANULE = 0.030, -0.014, 0.035, 0.040
"""Refractive index over the medium; that of nucleus and nucleoli over the cytoplasm around them."""


@dataclass(frozen=True)
class Scene:
    """What a microscope would look at, seen from above, (Y, X)."""

    path_um: Array
    """Optical path difference to the medium, in micrometres."""
    nuclei: Array
    """Amount of nuclear stain above each pixel, arbitrary unit."""
    membrane: Array
    """Amount of membrane stain above each pixel, arbitrary unit."""


@dataclass(frozen=True)
class Blob:
    """A lens-shaped body whose outline is a circle bent by a few waves. Lengths in micrometres."""

    y: float
    x: float
    radius: float
    height: float
    bends: tuple[tuple[int, float, float], ...] = ()
    """(waves around the outline, relative amplitude, phase in radians)."""

    def thickness(self, spacing_um: float, shape: tuple[int, int]) -> tuple[tuple[slice, slice], Array]:
        """Return a window of an image of `shape` pixels and the thickness in it, in micrometres."""
        window = self._window(spacing_um, shape)
        y, x = (np.arange(part.start, part.stop, dtype=np.float32) * spacing_um for part in window)
        dy, dx = y[:, None] - self.y, x[None, :] - self.x
        outline = np.full(np.broadcast_shapes(dy.shape, dx.shape), self.radius, np.float32)
        if self.bends:
            angle = np.arctan2(dy, dx)
            for waves, amplitude, phase in self.bends:
                outline += self.radius * amplitude * np.cos(waves * angle + phase)
        inside = 1 - (dy**2 + dx**2) / outline**2
        return window, (self.height * np.sqrt(np.maximum(inside, 0))).astype(np.float32)

    def _window(self, spacing_um: float, shape: tuple[int, int]) -> tuple[slice, slice]:
        reach = self.radius * (1 + sum(abs(amplitude) for _, amplitude, _ in self.bends))
        first = [int(np.floor((centre - reach) / spacing_um)) for centre in (self.y, self.x)]
        last = [int(np.ceil((centre + reach) / spacing_um)) + 1 for centre in (self.y, self.x)]
        y, x = (slice(min(max(a, 0), n), min(max(b, 0), n)) for a, b, n in zip(first, last, shape, strict=True))
        return y, x


def draw_scene(
    random: np.random.Generator,
    shape: tuple[int, int],
    spacing_um: float,
    *,
    radius_um: float = 9.0,
    crowding: float = 1.0,
) -> Scene:
    """Return a monolayer of cells on an image of `shape` pixels.

    Parameters
    ----------
    radius_um : float
        Mean radius of a cell.
    crowding : float
        1 is close to confluent, 0.5 sparse.
    """
    scene = Scene(*(np.zeros(shape, np.float32) for _ in range(3)))
    for y, x, radius in _places(random, shape, spacing_um, radius_um, crowding):
        _add_cell(scene, random, Blob(y, x, radius, random.uniform(3.5, 5.5), _bends(random, 0.12)), spacing_um)
    return scene


def _add_cell(scene: Scene, random: np.random.Generator, cell: Blob, spacing_um: float) -> None:
    window, body = cell.thickness(spacing_um, scene.path_um.shape)
    if body.size < 9 or min(body.shape) < 3:
        return
    scene.path_um[window] += CYTOPLASM * body
    scene.membrane[window] += random.lognormal(0, 0.1) * _surface(body, spacing_um)
    nucleus = _inner(random, cell, 0.35, 0.5, cell.height * random.uniform(0.7, 0.9))
    _add_nucleus(scene, random, nucleus, spacing_um)
    for _ in range(random.poisson(14)):
        granule = _inner(random, cell, 0.03, 0.07, random.uniform(0.4, 1.0), spread=0.8)
        _add(scene.path_um, granule, spacing_um, GRANULE)


def _add_nucleus(scene: Scene, random: np.random.Generator, nucleus: Blob, spacing_um: float) -> None:
    _add(scene.path_um, nucleus, spacing_um, NUCLEUS)
    brightness = float(random.lognormal(0, 0.12))
    _add(scene.nuclei, nucleus, spacing_um, brightness)
    for _ in range(random.integers(1, 4)):
        nucleolus = _inner(random, nucleus, 0.16, 0.26, nucleus.height * 0.45, spread=0.5)
        _add(scene.path_um, nucleolus, spacing_um, NUCLEOLUS)
        _add(scene.nuclei, nucleolus, spacing_um, -0.8 * brightness)


def _add(image: Array, blob: Blob, spacing_um: float, factor: float) -> None:
    window, thickness = blob.thickness(spacing_um, image.shape)
    image[window] += np.float32(factor) * thickness


def _inner(
    random: np.random.Generator, outer: Blob, smallest: float, largest: float, height: float, spread: float = 0.25
) -> Blob:
    angle, distance = random.uniform(0, 2 * np.pi), outer.radius * spread * np.sqrt(random.uniform())
    y, x = outer.y + distance * np.sin(angle), outer.x + distance * np.cos(angle)
    return Blob(y, x, outer.radius * random.uniform(smallest, largest), height, _bends(random, 0.06))


def _bends(random: np.random.Generator, strength: float) -> tuple[tuple[int, float, float], ...]:
    return tuple((waves, random.normal(0, strength / (waves - 1)), random.uniform(0, 2 * np.pi)) for waves in (2, 3, 4))


def _surface(body: Array, spacing_um: float) -> Array:
    """Area of membrane above a unit of area: top and bottom, steep at the edge."""
    slopes: Any = np.gradient(body, spacing_um)
    area = np.sqrt(1 + np.minimum(slopes[0] ** 2 + slopes[1] ** 2, 9))
    return np.where(body > 0, area, 0).astype(np.float32)


def _places(
    random: np.random.Generator, shape: tuple[int, int], spacing_um: float, radius_um: float, crowding: float
) -> list[tuple[float, float, float]]:
    height, width = (n * spacing_um for n in shape)
    wanted = int(crowding * height * width / (np.pi * radius_um**2))
    placed: list[tuple[float, float, float]] = []
    for _ in range(20 * wanted):
        radius = radius_um * random.uniform(0.75, 1.25)
        y, x = random.uniform(-radius, height + radius), random.uniform(-radius, width + radius)
        if all((y - v) ** 2 + (x - u) ** 2 > (0.85 * (radius + other)) ** 2 for v, u, other in placed):
            placed.append((y, x, radius))
        if len(placed) >= wanted:
            break
    return placed
