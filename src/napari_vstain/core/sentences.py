"""At the outer edge of the program any error becomes one sentence that says what to do."""

from napari_vstain.core.errors import StorageError, VstainError
from napari_vstain.core.files import writing


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
