"""A training file becomes objects through the parser that LightningCLI uses, and its complaints one sentence."""

import re
from typing import Any, NamedTuple

import torch
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from napari_vstain.core.errors import SettingsError, VstainError
from napari_vstain.core.training.settings import TrainSettings

_BUILDING = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError, AssertionError)

_SCAFFOLD = (
    "Parser key", "Problem with given class_path", "Does not validate", "Subtypes", "Errors:", "Given value",
    "Expected a <class 'NoneType'>", "Expected a path", "Expected a dot import path", "For further information",
    "Type collections",
)  # fmt: skip
"""What jsonargparse's lines begin with that lead to a reason and are none."""
_VALUE = re.compile(
    r"input_value=(.+?), input_type|Got value: (.{1,60})$|Given value: (.{1,60})$|Given value: (.{1,60})\. Got value",
    re.MULTILINE,
)
_COUNT = re.compile(r"\d+ validation error")
_DECORATION = re.compile(r" \[type=.*|\. Got value: .*|^Value error, ")


class Parts(NamedTuple):
    """What a training file describes."""

    config: dict[str, Any]
    """The file with every default filled in."""
    trainer: dict[str, Any]
    """Arguments of the Trainer; callbacks and loggers are built."""
    model: LightningModule
    data: LightningDataModule


def build(settings: TrainSettings) -> Parts:
    """Return the objects that a training file describes, the Trainer aside.

    Raises
    ------
    SettingsError
        For an unknown key, a class path that leads to nothing, or a value of the wrong kind.
    """
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument("--seed_everything", type=int | bool, default=True)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    try:
        config = parser.parse_object(settings.lightning())
        _seed(settings.seed_everything)
        made = getattr(parser, "instantiate", parser.instantiate_classes)(config)  # named so since jsonargparse 4.50
    except VstainError:
        raise
    except (ArgumentError, *_BUILDING) as error:
        raise _complaint(str(error)) from error
    return Parts(_plain(config), dict(made.trainer), made.model, made.data)


def _seed(seed: int | bool) -> None:
    """Fix the first weights; True draws a seed, False leaves torch as it is. No other library's numbers are touched."""
    if seed is True:
        torch.seed()
    elif seed is not False:
        torch.manual_seed(seed)


def _complaint(text: str) -> SettingsError:
    """Return what jsonargparse says in its many lines as one sentence: which key, and the innermost reason."""
    path = [key for pair in re.findall(r"Parser key \"([\w.]+)\"|[Oo]ption '(\w+)'", text) for key in pair if key]
    lines = [line.strip(" -\t") for line in text.splitlines()]
    reasons = [line for line in lines if line and not line.startswith(_SCAFFOLD) and not _COUNT.match(line)]
    reason = _DECORATION.sub("", reasons[0] if reasons else lines[-1]).replace("<class '", "").replace("'>", "")
    value = next((found for groups in _VALUE.findall(text) for found in groups if found), None)
    field = ".".join(path) or "training file"
    return SettingsError(field, value, reason[:1].lower() + reason[1:], "correct it in the training file")


def _plain(value: Any) -> Any:
    if isinstance(value, Namespace):
        return {key: _plain(item) for key, item in vars(value).items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
