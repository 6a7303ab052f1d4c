"""Which positions a model learned from, was chosen by, and is judged by: written in its ModelSpec, read from there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from napari_vstain.core.errors import ChannelError, SettingsError

PARTS = {"test": "test", "validate": "validation", "train": "training", "": "none of the training"}
"""What a part of a split is called for people, by what it is called in files; in the order of tables."""


@dataclass(frozen=True)
class Split:
    """Keys of the positions that a model learns from, is chosen by, and is judged by."""

    train: tuple[str, ...]
    validate: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, str]:
        """Each position's part; of one that is in two, that which flatters most: ``train``, then ``validate``."""
        named = (("test", self.test), ("validate", self.validate), ("train", self.train))
        return {key: part for part, keys in named for key in keys}

    @property
    def cautions(self) -> tuple[str, ...]:
        """One sentence for each thing that makes numbers of this split flatter than they look."""
        return tuple(self._cautions())

    def __str__(self) -> str:
        counts = ((len(self.train), "to learn from"), (len(self.validate), "to validate"), (len(self.test), "to test"))
        return ", ".join(f"{number} {what}" for number, what in counts)

    def checked(self, known: Sequence[str]) -> "Split":
        """Return itself.

        Raises
        ------
        SettingsError
            When nothing is left to learn from, or a position of the test is also seen in training.
        ChannelError
            When a position is not in the dataset.
        """
        if not self.train:
            raise SettingsError("training positions", None, "there is none", "name at least one position to learn from")
        for key in (*self.train, *self.validate, *self.test):
            if key not in known:
                listed = ", ".join(known[:8]) + (" …" if len(known) > 8 else "")
                raise ChannelError("position", key, f"the dataset has {listed}", "choose some of these")
        seen = sorted(set(self.test) & {*self.train, *self.validate})
        if seen:
            rule = "is in the test and is also trained or validated on"
            raise SettingsError("test positions", ", ".join(seen), rule, "keep the test apart")
        return self

    def _cautions(self) -> Iterator[str]:
        if not self.train:
            return
        both = sorted(set(self.train) & set(self.validate))
        if both:
            yield f"{', '.join(both)} is learned from and validated on: its score says nothing of unseen images."
        if not self.test:
            yield "No position is kept for the test: there is no score that can be trusted."
        shared = sorted({well_of(key) for key in self.train} & {well_of(key) for key in self.test})
        if shared:
            wells = f"wells {', '.join(shared[:8])}{' …' if len(shared) > 8 else ''}"
            yield f"Fields of {wells} are both learned from and in the test: a new well may be harder."


def well_of(key: str) -> str:
    """Return the well of a position, ``row/column`` of ``row/column/field``; an image that is no plate is one."""
    well = key.rpartition("/")[0]
    return key if well in ("", "0/0") else well
