"""At the outer edge of the program any error becomes one sentence that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from napari_vstain.core.errors import StorageError, VstainError
from napari_vstain.core.files import first_line, writing
from napari_vstain.core.import_paths import NAMES

_OURS = __name__.partition(".")[0]
_NAMED_IN_FILES = {f"{_OURS}.{module}" for module in NAMES.values()}


def as_sentence(error: Exception) -> VstainError:
    """Return any error as one of ours: what the disk refused as a `StorageError`, a fault of the program as such."""
    if isinstance(error, VstainError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        try:
            with writing(error.filename or "."):
                raise error
        except StorageError as refused:
            return refused
    text = " ".join(str(error).split())[:300]
    rule = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return VstainError("unexpected error", None, rule, "run it again with --debug and report what it prints")


@contextmanager
def third_party(field: str, value: object, rule: str, remedy: str, *, kind: type[VstainError]) -> Iterator[None]:
    """Turn whatever code of others raises inside, a network or a runtime, into one sentence of class `kind`.

    No list of exceptions is complete for code that we did not write. What our own code raised, a fault of the program,
    a sentence or a stop, passes as it is: see `raised_outside`.

    Parameters
    ----------
    field, value, rule, remedy
        As `VstainError` takes them; the first line of what was raised follows the rule, in brackets.
    kind : type
        The class that is raised.
    """
    try:
        yield
    except Exception as error:
        if not raised_outside(error):
            raise
        raise kind(field, value, f"{rule} ({first_line(error)})", remedy) from error


def raised_outside(error: BaseException) -> bool:
    """Return True if an error was raised by code of others: the innermost frame of its traceback is none of ours.

    A sentence is ours wherever it was raised.
    The modules whose classes files name count as others': they run with what a file says, and a class of ours there
    is to be treated as anybody's. What a compiled function raises has no frame, and counts as raised by its caller.
    """
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    innermost = modules[-1] if modules else ""
    outside = innermost.partition(".")[0] != _OURS or innermost in _NAMED_IN_FILES
    return outside and not isinstance(error, VstainError)
