"""Random patches are cut from normalized images as fast as memory or zarr gives them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.data import Position
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.training.augmentation import flip_and_rotate, relight
from napari_vstain.core.training.detail import DetailMap
from napari_vstain.core.training.patch_settings import USUAL_STRIDE, PatchSettings


@dataclass(frozen=True)
class Place:
    """Where a patch is cut: the stack at one time of one position, from these corners on."""

    stack: int
    z: int
    y: int
    x: int


@dataclass
class Stack:
    """One position at one time."""

    position: Position
    t: int
    scaling: Scaling
    pixels: Array | None = None
    """Normalized, (C, Z, Y + 2 margins, X + 2 margins), reflected beyond the borders; None when it is not cached."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns, without margins."""
        return self.position.shape[2:]


class PatchReader:
    """Cuts patches out of stacks that are in memory, or reads them from disk.

    Parameters
    ----------
    stacks : sequence of Stack
        All of the same channels.
    channels : sequence of str
        Sources, then targets.
    settings : PatchSettings
        Raises SettingsError when a patch does not fit an image.
    targets : int
        How many of the channels, the last ones, are targets.
    """

    def __init__(
        self, stacks: Sequence[Stack], channels: Sequence[str], settings: PatchSettings, targets: int = 1
    ) -> None:
        self.stacks, self.channels, self.settings, self.targets = list(stacks), tuple(channels), settings, targets
        self._detail: DetailMap | None = None
        for stack in self.stacks:
            _check_fit(stack, settings)
        self.weights = np.array(
            [self._windows(stack) * stack.shape[1] * stack.shape[2] for stack in self.stacks], float
        )

    @property
    def pixels(self) -> int:
        """Pixels that there are to learn from, slices counted as windows."""
        return int(self.weights.sum())

    def fill_cache(self, budget_bytes: int) -> int:
        """Read stacks into memory until `budget_bytes` is spent; return what is left of it."""
        for stack in self.stacks:
            budget_bytes = self.cache(stack, budget_bytes)
        return budget_bytes

    def cache(self, stack: Stack, budget_bytes: int) -> int:
        """Read one stack into memory if it fits `budget_bytes`; return what is left."""
        depth, height, width = stack.shape
        margin = self.settings.margin_px
        needed = 4 * len(self.channels) * depth * (height + 2 * margin) * (width + 2 * margin)
        if stack.pixels is None and needed <= budget_bytes:
            stack.pixels = self._read(stack, slice(None), (-margin, height + margin), (-margin, width + margin))
            budget_bytes -= needed
        return budget_bytes

    def random_places(self, count: int, random: np.random.Generator) -> list[Place]:
        """Return places, some drawn where cached targets stand out, the others evenly over all pixels."""
        detailed = random.random(count) < self.settings.detail * self._cached_share()
        chosen = random.choice(len(self.stacks), count, p=self.weights / self.weights.sum())
        return [
            self._detailed_place(random) if there else self._random_place(int(index), random)
            for index, there in zip(chosen, detailed, strict=True)
        ]

    def grid_places(self, most: int) -> list[Place]:
        """Return at most `most` places that cover the stacks side by side, evenly left out where they are more."""
        places = [place for index in range(len(self.stacks)) for place in self._grid(index)]
        kept = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
        return [places[index] for index in kept]

    def cut(self, place: Place) -> Array:
        """Return the normalized patch at a place, (C, Z, Y, X); a view when the stack is cached."""
        stack, size, margin = self.stacks[place.stack], self.settings.size_px, self.settings.margin_px
        z = slice(place.z, place.z + self.settings.z_window)
        if stack.pixels is None:
            return self._read(stack, z, (place.y, place.y + size), (place.x, place.x + size))
        y, x = place.y + margin, place.x + margin
        return stack.pixels[:, z, y : y + size, x : x + size]

    def batch(self, places: Sequence[Place], random: np.random.Generator | None = None) -> Array:
        """Return the patches at places, (B, C, Z, Y, X), turned and mirrored if `random` is given."""
        size, settings = self.settings.size_px, self.settings
        made = np.empty((len(places), len(self.channels), settings.z_window, size, size), np.float32)
        for target, place in zip(made, places, strict=True):
            patch = self.cut(place)
            target[...] = patch if random is None else flip_and_rotate(patch, settings, random)
            if random is not None:
                relight(target[: -self.targets], settings, random)
        return made

    def _read(self, stack: Stack, z: slice, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
        _, height, width = stack.shape
        (top, bottom), (left, right) = rows, columns
        y, x = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
        pixels = stack.scaling.normalized(stack.position.read(self.channels, stack.t, z, y, x))
        missing = ((y.start - top, bottom - y.stop), (x.start - left, right - x.stop))
        return np.pad(pixels, ((0, 0), (0, 0), *missing), "reflect") if any(map(any, missing)) else pixels

    def _windows(self, stack: Stack) -> int:
        return stack.shape[0] - self.settings.z_window + 1

    def _cached_share(self) -> float:
        cached = sum(
            weight for stack, weight in zip(self.stacks, self.weights, strict=True) if stack.pixels is not None
        )
        return float(cached / self.weights.sum())

    def _detailed_place(self, random: np.random.Generator) -> Place:
        if self._detail is None:
            cached = {index: stack.pixels for index, stack in enumerate(self.stacks) if stack.pixels is not None}
            targets = {index: pixels[-self.targets :] for index, pixels in cached.items()}
            self._detail = DetailMap(targets, self.settings)
        return self._place_around(*self._detail.draw(random))

    def _random_place(self, index: int, random: np.random.Generator) -> Place:
        y, x = (int(random.integers(length)) for length in self.stacks[index].shape[1:])
        return self._place_around(index, int(random.integers(self._windows(self.stacks[index]))), (y, x))

    def _place_around(self, index: int, z: int, middle: tuple[int, int]) -> Place:
        """Return the place with a pixel in its middle, or as near to it as the image lets it.

        Borders are thereby seen half as often as the inside, and corners, where light falls off, a quarter as often;
        were all places equally likely, a corner would be in one of them only.
        """
        size, margin = self.settings.size_px, self.settings.margin_px
        lengths = self.stacks[index].shape[1:]
        y, x = (min(max(m - size // 2, -margin), n + margin - size) for m, n in zip(middle, lengths, strict=True))
        return Place(index, min(z, self._windows(self.stacks[index]) - 1), y, x)

    def _grid(self, index: int) -> list[Place]:
        stack, margin = self.stacks[index], self.settings.margin_px
        step = self.settings.size_px - 2 * margin
        rows, columns = (_starts(length, step) for length in stack.shape[1:])
        slices = range(0, self._windows(stack), self.settings.z_window)
        return [Place(index, z, y - margin, x - margin) for z in slices for y in rows for x in columns]


def _starts(length: int, step: int) -> list[int]:
    """Return where steps start that cover a length; the last ends where it ends."""
    return sorted({min(start, length - step) for start in range(0, length, step)})


def _check_fit(stack: Stack, settings: PatchSettings) -> None:
    depth, *plane = stack.shape
    margin, inner = settings.margin_px, settings.size_px - 2 * settings.margin_px
    if inner < 1:
        raise SettingsError(
            "margin", f"{margin} px", "leaves nothing of the patch to learn from", "choose a smaller one"
        )
    if inner > min(plane) or margin >= min(plane):
        rule = f"is larger than position {stack.position.key} of {plane[0]} × {plane[1]} px"
        fits = min(plane) // USUAL_STRIDE * USUAL_STRIDE or min(plane)
        raise SettingsError("patch size", f"{settings.size_px} px", rule, f"choose {fits} px or less")
    if settings.z_window > depth:
        rule = f"position {stack.position.key} has {depth}"
        raise SettingsError("slices of a patch", settings.z_window, rule, f"choose at most {depth}")
