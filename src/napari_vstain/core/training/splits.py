"""Positions are split once: by the lists given, else by a hash that no other position can change."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from napari_vstain.core.errors import ChannelError, SettingsError

VALIDATE_SHARE = 0.15
TEST_SHARE = 0.15


@dataclass(frozen=True)
class Split:
    """Keys of the positions that a model learns from, is chosen by, and is judged by."""

    train: tuple[str, ...]
    validate: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

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


def hash_split(keys: Sequence[str], salt: int = 0) -> Split:
    """Return a split in which each position's place depends on nothing but its own key.

    About 15 % each are for validation and test; a part that this leaves empty takes one from the largest. Of two
    positions the last is for validation; a single one is learned from and validated on.
    """
    if len(keys) < 3:
        return Split((min(keys),), (max(keys),))
    parts: list[list[str]] = [[], [], []]
    for key in sorted(keys, key=lambda key: _fraction(key, salt)):
        parts[_part(_fraction(key, salt))].append(key)
    for part in parts:
        if not part:
            part.append(max(parts, key=len).pop())
    train, validate, test = (tuple(key for key in keys if key in part) for part in parts)
    return Split(train, validate, test)


def _part(fraction: float) -> int:
    """Return 0 for training, 1 for validation, 2 for the test."""
    return 2 if fraction < TEST_SHARE else 1 if fraction < TEST_SHARE + VALIDATE_SHARE else 0


def _fraction(key: str, salt: int) -> float:
    digest = hashlib.sha256(f"{salt}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
