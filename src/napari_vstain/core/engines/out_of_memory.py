"""What a framework raises for a batch: an OutOfMemory where it does not fit, else one sentence."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from napari_vstain.core.engines.base import OutOfMemory
from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.progress import Cancelled

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


def running(engine: str, shape: tuple[int, ...]) -> AbstractContextManager[None]:
    """Raise ModelError for whatever else a framework says of a batch: it is the graph that it cannot run."""
    rule, remedy = f"cannot run on a batch of {shape} in {engine}", "choose another engine, or export the model again"
    return reading("model", None, rule, remedy, kind=ModelError, passing=(Cancelled, OutOfMemory))


def _complaint(text: str) -> str:
    """Return the line of an error that says that memory ran out, or nothing."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if any(phrase in line.lower() for phrase in _PHRASES)), "")
