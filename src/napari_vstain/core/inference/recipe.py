"""What a prediction was made by and made from: enough to know whether it may be gone on with, and to say why not."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from napari_vstain.core.data.identity import Identity
from napari_vstain.core.data.predicted import is_begun

_WORDS = {
    "sources": "source channels",
    "augment": "flips and rotations",
    "precision": "precision",
    "z_step": "Z step",
    "resampled": "resampling",
}

UNKNOWN = "was predicted by a version that did not note its input, which is taken to be unchanged"


class Existing(StrEnum):
    """What to do with a position that has predictions already."""

    RESUME = "resume"
    OVERWRITE = "overwrite"
    SKIP = "skip"
    RENEW = "renew"


class Step(StrEnum):
    """What becomes of a position that is in the store."""

    GO_ON = "go on"
    """What is done stays; the rest is predicted."""
    ANEW = "anew"
    """What is done is of no use, and goes."""
    LEAVE = "leave"
    """It stays as it is."""
    REFUSE = "refuse"
    """It is a result of something else that was asked for, and nobody said that it may go."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what a prediction's values are, but for the pixels; and what computes it."""

    settings: Mapping[str, Any]
    fingerprint: str
    """Of the model."""
    details: Mapping[str, Any]
    """Source channels, augmentation, precision…; and the dataset, which is for people."""
    computed_by: Mapping[str, Any] = field(default_factory=dict)
    """Engine, device, precision, threads, versions, date."""

    @property
    def digest(self) -> str:
        """16 hex digits; predictions of the same digest were asked for in the same way."""
        text = json.dumps([self.fingerprint, _asked(self.details)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differs_from(self, said: Mapping[str, Any]) -> str:
        """Return how the prediction that `said` records was asked for in another way; nothing if it was not."""
        if said.get("fingerprint") != self.fingerprint:
            return "by another model"
        details = said.get("details")
        known, ours = _asked(details if isinstance(details, Mapping) else {}), _asked(self.details)
        for name in (name for name in {**ours, **known} if known.get(name) != ours.get(name)):
            was, now = (_shown(values.get(name)) for values in (known, ours))
            return f"with {_WORDS.get(name, name)} {was} where {now} is asked for"
        return ""


@dataclass(frozen=True)
class Input:
    """What a prediction of a position is made from: its pixels, and the numbers that they are normalized by."""

    identity: Identity
    numbers: Mapping[str, Any]
    """``sources`` and ``targets``: by time point, or ``all`` of them, then by channel, ``[offset, divisor]``."""

    def changed_since(self, said: Mapping[str, Any], content: Callable[[], str]) -> str:
        """Return what changed since the prediction that `said` records was made; nothing if nothing did.

        What a store of an earlier version does not say counts as unchanged.
        """
        known = Identity.parse(said.get("input"))
        if known is not None and not known.is_still(self.identity, content):
            return "was predicted from other pixels, so it is predicted anew"
        numbers = said.get("normalization")
        if isinstance(numbers, Mapping) and not _agree(numbers, self.numbers):
            return "was normalized by other numbers, so it is predicted anew"
        return ""

    def joined(self, known: Identity, numbers: object) -> "Input":
        """Return the input with what an earlier record of the same pixels knew of it."""
        sources = numbers.get("sources") if isinstance(numbers, Mapping) else None
        kept = {**(sources if isinstance(sources, Mapping) else {}), **self.numbers.get("sources", {})}
        return Input(replace(self.identity, content=known.content), {**self.numbers, "sources": kept})

    def as_record(self) -> dict[str, Any]:
        """Return what a position's record says of it."""
        return {"input": asdict(self.identity), "normalization": dict(self.numbers)}


def next_step(
    said: Mapping[str, Any], recipe: Recipe, changed: Callable[[], str], existing: Existing, asked_is_done: bool
) -> tuple[Step, str]:
    """Return what to do with a position of a store, and what is to be said of it, as the end of a sentence.

    Parameters
    ----------
    said : mapping
        The position's record.
    changed : callable
        What changed in the input since; asked only when it matters, since it may read all pixels.
    asked_is_done : bool
        Whether all that is asked for now is done.
    """
    if not is_begun(said):
        return Step.ANEW, ""
    if existing is Existing.OVERWRITE:
        return Step.ANEW, ""
    if difference := recipe.differs_from(said):
        leave = existing is Existing.SKIP and asked_is_done
        if existing is Existing.RENEW:
            return Step.ANEW, ""
        return (Step.LEAVE, "") if leave else (Step.REFUSE, difference)
    if reason := changed():
        return Step.ANEW, reason
    why = "" if Identity.parse(said.get("input")) else UNKNOWN
    return (Step.LEAVE if existing is Existing.SKIP and asked_is_done else Step.GO_ON), why


def _asked(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != "dataset"}


def _agree(known: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return True if two mappings of numbers say the same where both say something."""
    for name in known.keys() & now.keys():
        one, other = known[name], now[name]
        both = isinstance(one, Mapping) and isinstance(other, Mapping)
        if not (_agree(one, other) if both else one == other):
            return False
    return True


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
