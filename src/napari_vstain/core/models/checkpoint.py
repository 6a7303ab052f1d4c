"""A checkpoint alone is enough to predict: it holds the weights and all that the model says of itself."""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import atomically
from napari_vstain.core.models.allowed import allowed_packages
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.models.spec import ModelSpec

KEY = "vstain"
"""Where a checkpoint keeps its `ModelSpec`, as JSON."""
PREFIX = "network."
"""What the names of the weights begin with, since the training module holds the network under that name."""
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError)
"""What torch raises for a file that is no checkpoint, or half of one."""


def load_checkpoint(path: Path | str, allowed: Sequence[str] | None = None) -> tuple[ModelSpec, nn.Module]:
    """Return what a checkpoint says of itself, and its network on the CPU, ready to predict.

    Parameters
    ----------
    path : path
        A checkpoint that this package trained or saved.
    allowed : sequence of str, optional
        Packages, beyond the known ones, whose networks may be built; by default those that this user allowed.

    Raises
    ------
    ModelError
        When the file is missing, damaged, not ours, or its weights do not fit its network. Nothing in it is run.
    """
    content = read_checkpoint(path)
    spec = _spec(content, Path(path))
    network = build_network(spec.config, trusted=False, allowed=allowed_packages() if allowed is None else allowed)
    load_weights(network, content.get("state_dict"), PREFIX, Path(path))
    return spec, network.eval()


def load_spec(path: Path | str) -> ModelSpec:
    """Return what a checkpoint says of itself, reading none of its weights.

    Raises
    ------
    ModelError
        When the file is missing, damaged or not ours.
    """
    return _spec(read_checkpoint(path, lazily=True), Path(path))


def save_checkpoint(path: Path | str, spec: ModelSpec, network: nn.Module) -> ModelSpec:
    """Write a checkpoint, atomically; return `spec` with the digest of the weights in it."""
    state = {PREFIX + name: value for name, value in network.state_dict().items()}
    content: dict[str, Any] = {"state_dict": state}
    spec = attach_spec(content, spec)
    with atomically(Path(path)) as temporary:
        torch.save(content, temporary)
    return spec


def attach_spec(checkpoint: dict[str, Any], spec: ModelSpec) -> ModelSpec:
    """Put `spec`, with the digest of the checkpoint's weights, into a checkpoint; return it."""
    spec = spec.model_copy(update={"weights": weights_digest(checkpoint["state_dict"])})
    checkpoint[KEY] = spec.model_dump_json()
    return spec


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Return the first 16 hex digits of the SHA-256 of all weights, their names and their shapes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name.removeprefix(PREFIX)}:{value.dtype}:{tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_checkpoint(path: Path | str, lazily: bool = False) -> dict[str, Any]:
    """Return a checkpoint's content on the CPU, running no code that it may contain.

    Raises
    ------
    ModelError
        When the file is missing, or is no whole checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError("checkpoint", path, "is not there", "choose a file that ends in .ckpt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily or None)
    except PermissionError as error:
        raise ModelError("checkpoint", path, "may not be read by you", "ask for permission") from error
    except _UNREADABLE as error:
        rule = "is no checkpoint, is damaged, or holds more than weights and plain values"
        raise ModelError("checkpoint", path, rule, "copy it again, or choose another model") from error
    if not isinstance(content, dict):
        raise ModelError("checkpoint", path, "holds no named values", "choose another model")
    return content


def load_weights(network: nn.Module, state: object, prefix: str, path: Path) -> None:
    """Put the weights whose names begin with `prefix` into a network.

    Raises
    ------
    ModelError
        When one is missing, left over or of another shape.
    """
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError("checkpoint", path, "holds no weights", "choose another model")
    weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    wanted = network.state_dict()
    problem = _misfit(wanted, weights)
    if problem:
        rule = f"does not fit the network {type(network).__name__}: {problem}"
        raise ModelError("checkpoint", path, rule, "use the configuration that it was trained with")
    network.load_state_dict(weights)


def _misfit(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    missing, surplus = wanted.keys() - given.keys(), given.keys() - wanted.keys()
    if missing:
        return f"{len(missing)} weights are missing, such as {min(missing)}"
    if surplus:
        return f"{len(surplus)} weights have no place, such as {min(surplus)}"
    for name, value in wanted.items():
        if value.shape != given[name].shape:
            return f"{name} has shape {tuple(given[name].shape)} and should have {tuple(value.shape)}"
    return ""


def _spec(content: Mapping[str, Any], path: Path) -> ModelSpec:
    text = content.get(KEY)
    if not isinstance(text, str):
        rule = "was not made by napari-vstain: it does not say what it expects and predicts"
        raise ModelError("checkpoint", path, rule, "train one here, or give VisCy's configuration with VisCy's model")
    try:
        return ModelSpec.model_validate_json(text)
    except ValueError as error:
        rule = "describes itself in a way that this version does not understand"
        raise ModelError("checkpoint", path, rule, "update napari-vstain, or train it again") from error
