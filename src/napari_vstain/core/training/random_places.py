"""The patch index that needs no table: some places where the targets stand out, the others evenly over all pixels."""

from collections.abc import Collection
from functools import cached_property

import numpy as np

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.training.detail import DetailMap
from napari_vstain.core.training.patch_index import PatchIndex, Place
from napari_vstain.core.training.patches import PatchReader
from napari_vstain.core.training.stacks import Stack

_KNOWN_BY = ("position", "t")


class RandomPlaces(PatchIndex):
    """Places anywhere in a reader's stacks; the share `detail` of its settings where cached targets stand out.

    Parameters
    ----------
    reader : PatchReader
        What it keeps in memory by now is what `detail` knows of.
    among : collection of int, optional
        Of which of its stacks; all by default.
    """

    def __init__(self, reader: PatchReader, among: Collection[int] | None = None) -> None:
        self.reader, self.settings = reader, reader.settings
        self.among = frozenset(range(len(reader.stacks)) if among is None else among)
        learnable = [stack.learnable(self.settings.z_window) for stack in reader.stacks]
        self.weights = np.array([pixels if i in self.among else 0 for i, pixels in enumerate(learnable)], float)

    def draw(self, count: int, random: np.random.Generator) -> list[Place]:
        """Return places, some drawn where cached targets stand out, the others evenly over all pixels."""
        detailed = random.random(count) < self.settings.detail * self._cached_share
        chosen = random.choice(len(self.weights), count, p=self.weights / self.weights.sum())
        return [
            self._place_around(*self._detail.draw(random)) if there else self._anywhere(int(index), random)
            for index, there in zip(chosen, detailed, strict=True)
        ]

    def where(self, **query: object) -> "RandomPlaces":
        """Return the places of some positions and times alone, asked for as `position` and `t`."""
        for name in query:
            if name not in _KNOWN_BY:
                raise SettingsError("places", name, "is nothing they are known by", f"ask for {' or '.join(_KNOWN_BY)}")
        among = {index for index in self.among if _matches(self.reader.stacks[index], query)}
        if not among:
            asked = ", ".join(f"{name} {value}" for name, value in query.items())
            raise SettingsError("places", asked, "are in no image that is learned from", "ask for others")
        return RandomPlaces(self.reader, among)

    @cached_property
    def _cached_share(self) -> float:
        pairs = zip(self.reader.stacks, self.weights, strict=True)
        return float(sum(weight for stack, weight in pairs if stack.pixels is not None) / self.weights.sum())

    @cached_property
    def _detail(self) -> DetailMap:
        stacks, targets = self.reader.stacks, self.reader.targets
        cached = {index: pixels for index in sorted(self.among) if (pixels := stacks[index].pixels) is not None}
        return DetailMap({index: pixels[-targets:] for index, pixels in cached.items()}, self.settings)

    def _anywhere(self, index: int, random: np.random.Generator) -> Place:
        stack = self.reader.stacks[index]
        y, x = (int(random.integers(length)) for length in stack.shape[1:])
        return self._place_around(index, int(random.integers(stack.windows(self.settings.z_window))), (y, x))

    def _place_around(self, index: int, z: int, middle: tuple[int, int]) -> Place:
        """Return the place with a pixel in its middle, or as near to it as the image lets it.

        Borders are thereby seen half as often as the inside, and corners, where light falls off, a quarter as often;
        were all places equally likely, a corner would be in one of them only.
        """
        size, margin, stack = self.settings.size_px, self.settings.margin_px, self.reader.stacks[index]
        y, x = (
            min(max(m - size // 2, -margin), n + margin - size) for m, n in zip(middle, stack.shape[1:], strict=True)
        )
        return Place(index, min(z, stack.windows(self.settings.z_window) - 1), y, x)


def _matches(stack: Stack, query: dict[str, object]) -> bool:
    known = {"position": stack.position.key, "t": stack.t}
    return all(
        known[name] in value if isinstance(value, Collection) and not isinstance(value, str) else known[name] == value
        for name, value in query.items()
    )
