"""Every error says which field, its value, the rule it broke and the remedy, in one sentence."""

from pathlib import Path

_LONGEST = 400
"""Letters of a value that are shown."""


class VstainError(Exception):
    """An error that a microscopist can act on.

    Parameters
    ----------
    field : str
        What is wrong, in the user's words: ``"source channel"``, ``"tile size"``.
    value : object
        The value that was given; None when there is none to show.
    rule : str
        The rule that the value breaks, with its unit.
    remedy : str
        What to do about it, as an imperative.
    """

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        super().__init__(field, value, rule, remedy)
        self.field = field
        self.value = value
        self.rule = rule
        self.remedy = remedy

    def __str__(self) -> str:
        shown = "" if self.value is None else f" {_shown(self.value)}"
        return printable(f"{self.field}{shown}: {self.rule.rstrip('.')}; {self.remedy.rstrip('.')}.")


def printable(text: str) -> str:
    """Return a text on one line that every terminal can show: what cannot be printed is written as its escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class SettingsError(VstainError, ValueError):
    """A setting, or a settings file, that breaks its own rules."""


class WorkspaceError(VstainError, ValueError):
    """A folder that is not a workspace, or a name that cannot be used in one."""


class DatasetError(VstainError, ValueError):
    """An image, plate or store that cannot be used as it is."""


class NormalizationError(DatasetError):
    """An image that cannot be normalized, since it is empty, constant or nearly so; the rule says which."""


class ChannelError(VstainError, LookupError):
    """A channel or a position that a dataset does not have."""


class StorageError(VstainError, OSError):
    """A folder or a disk that does not take what is written to it."""


class BusyError(StorageError):
    """What another process is changing just now."""


class ModelError(VstainError, ValueError):
    """A checkpoint, an ONNX file or a network that cannot be used as it is."""


class TilingError(VstainError, ValueError):
    """A tile size, halo or stride that would change the prediction."""


class DependencyError(VstainError, ImportError):
    """An optional part that is not installed."""


def _shown(value: object) -> str:
    text = f"'{value}'" if isinstance(value, (str, Path)) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
