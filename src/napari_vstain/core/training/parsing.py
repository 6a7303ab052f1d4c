"""A training file becomes objects through the parser that LightningCLI uses, and its complaints one sentence."""

import re
from contextlib import suppress
from inspect import signature
from typing import Any, NamedTuple

import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.import_paths import stable_paths
from napari_vstain.core.models.networks import network_class
from napari_vstain.core.sentences import raised_outside
from napari_vstain.core.training.settings import TrainSettings

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
_GROUP = re.compile(r"[Gg]roup '(\w+)' does not accept option")
_LITERAL = re.compile(r"Literal\[([^\]]*)\]")
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
_SUBCLASS = re.compile(r"Expected '([\w.]+)' to be a subclass of <class '(\w+)'>")
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
    values = _with_channels(settings.lightning())
    try:
        config = parser.parse_object(values)
        _seed(settings.seed_everything)
        made = getattr(parser, "instantiate", parser.instantiate_classes)(config)  # named so since jsonargparse 4.50
    except Exception as error:
        if not raised_outside(error):
            raise
        raise _complaint(str(error).strip() or type(error).__name__) from error
    return Parts(stable_paths(_plain(config)), dict(made.trainer), made.model, made.data)


def _with_channels(values: dict[str, Any]) -> dict[str, Any]:
    """Return the file with the data's numbers of channels where its network takes them and nobody gave any."""
    data, model = values["data"].get("init_args"), values["model"].get("init_args")
    network = model.get("network") if isinstance(model, dict) else None
    if not (isinstance(data, dict) and isinstance(network, dict) and isinstance(network.get("class_path"), str)):
        return values
    if not isinstance(given := network.get("init_args") or {}, dict):
        return values
    with suppress(ModelError):  # a path that leads nowhere is the parser's to complain of
        taken = signature(network_class(network["class_path"])).parameters
        for name, channels in (("in_channels", data.get("sources")), ("out_channels", data.get("targets"))):
            if name in taken and isinstance(channels, list):
                network["init_args"] = given = {name: len(channels), **given}
    return values


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
    reason = _DECORATION.sub("", reasons[0] if reasons else lines[-1])
    value = next((found.strip("'") for groups in _VALUE.findall(text) for found in groups if found), None)
    if group := _GROUP.search(text):
        path, reason = [group[1], *path], "is no setting"
    elif "is not accepted" in reason:
        reason, value = "is no setting", None
    elif other := _SUBCLASS.search(text):
        value, reason = other[1], f"is no {other[2]}"
    elif reason.startswith("Expected a"):
        reason = _expected(text, reason)
    field = ".".join(path) or "training file"
    return SettingsError(field, value, reason[:1].lower() + reason[1:], "correct it in the training file")


def _expected(text: str, reason: str) -> str:
    """Return which values a setting may have: those that are listed, else of which kind."""
    listed = [value.strip(" '") for part in _LITERAL.findall(text) for value in part.split(",")]
    if listed:
        return f"must be one of {', '.join(dict.fromkeys(listed))}"
    kind = reason.removeprefix("Expected a ").replace("<class '", "").replace("'>", "")
    return f"must be {_KINDS.get(kind, kind)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Namespace):
        return {key: _plain(item) for key, item in vars(value).items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
