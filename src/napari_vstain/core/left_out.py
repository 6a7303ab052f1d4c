"""What a stage cannot use is named with its reason and left out, and the rest goes on: one policy for all stages."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from napari_vstain.core.errors import ChannelError, DatasetError, NormalizationError, VstainError

MOST_NAMED = 3
"""How many of those left out a headline names; a list names all."""


class LeftOut(NamedTuple):
    """A position, or one channel of it, that a stage did not use."""

    position: str
    """Its key, ``row/column/field``; or the file, where there is no position yet."""
    reason: str
    """Why, as the end of a sentence that begins with the position: ``is empty in Phase``."""

    def __str__(self) -> str:
        return f"{self.position} {self.reason}"

    @classmethod
    def of(cls, position: str, error: VstainError) -> "LeftOut":
        """Return what an error says of a position as the reason why it is left out."""
        if isinstance(error, NormalizationError):
            return cls(position, f"{error.rule} in {error.value}")
        about = "" if error.value in (position, None) else f" {error.value}"
        what = "" if error.field == "position" and not about else f"cannot be used: {error.field}{about} "
        return cls(position, what + error.rule.rstrip("."))


@contextmanager
def leaving_out(position: str, left_out: list[LeftOut], strict: bool = False) -> Iterator[None]:
    """Add a position to `left_out` when its data provoke a DatasetError or ChannelError inside, and go on behind.

    If `strict`, the error goes on as it is.
    """
    try:
        yield
    except (DatasetError, ChannelError) as error:
        if strict:
            raise
        left_out.append(LeftOut.of(position, error))


def outcome(verb: str, done: Collection[str], left_out: Sequence[LeftOut], noun: str = "positions") -> str:
    """Return how many were done of how many, and why not all: "Predicted 1 of 2 positions: B/02/1 is empty in Phase.".

    Parameters
    ----------
    verb : str
        In the past tense, capitalized: ``"Predicted"``.
    done : collection of str
        The positions that were done, if only in some of their channels.
    left_out : sequence of LeftOut
        What was not.
    """
    total = len({*done, *(one.position for one in left_out)})
    of = f" of {total}" if total > len(done) else ""
    counted = f"{verb} {len(done)}{of} {noun if total != 1 else noun.removesuffix('s')}"
    if not left_out:
        return f"{counted}."
    named = ", ".join(map(str, left_out[:MOST_NAMED]))
    more = f", and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
    return f"{counted}{':' if of else '; left out:'} {named}{more}."


def check_left_out(done: int, left_out: Sequence[LeftOut], strict: bool) -> None:
    """Refuse when nothing can be used, or, if `strict`, when anything cannot.

    Raises
    ------
    DatasetError
        Naming the first of those left out, with its reason.
    """
    if not left_out or (done and not strict):
        return
    first, more = left_out[0], len(left_out) - 1
    rule = first.reason + (f", and {more} more cannot be used either" if more else "")
    remedy = "leave it out with `positions`, or run without `strict`" if done else "choose positions that can be used"
    raise DatasetError("position", first.position, rule, remedy)
