"""A batch that does not fit is an OutOfMemory, whatever the framework calls it."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari_vstain.core.inference.engines.base import OutOfMemory

_PHRASES = (
    "out of memory",
    "not enough memory",
    "allocate memory",
    "bad alloc",
    "bad_alloc",
    "failed to allocate",
    "cannot allocate",
)


@contextmanager
def memory_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Raise OutOfMemory for a MemoryError, or one of `kinds` that says so; let everything else pass."""
    try:
        yield
    except OutOfMemory:
        raise
    except MemoryError as error:
        raise OutOfMemory(str(error) or "the batch does not fit") from error
    except kinds as error:
        line = _complaint(str(error))
        if not line:
            raise
        raise OutOfMemory(line) from error


def _complaint(text: str) -> str:
    """Return the line of an error that says that memory ran out, or nothing."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if any(phrase in line.lower() for phrase in _PHRASES)), "")
