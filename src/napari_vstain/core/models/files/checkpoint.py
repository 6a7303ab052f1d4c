"""A checkpoint alone is enough to predict: it holds the weights and all that the model says of itself."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import atomically, reading
from napari_vstain.core.models.activations import activate
from napari_vstain.core.models.files.allowed import allowed_packages
from napari_vstain.core.models.files.integrity import check_digest, check_network, check_numbers, check_tensors
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.models.spec import ModelSpec, parse_spec
from napari_vstain.core.process_tweaks import quiet_checkpoints

KEY = "vstain"
"""Where a checkpoint keeps its `ModelSpec`, as JSON."""
_PREFIX = "network."
"""What the names of the weights begin with, since the training module holds the network under that name."""


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
        When the file is missing, damaged or not ours, its weights are not those that it describes, do not fit its
        network or are no finite numbers, or the network takes or gives something else than it says. Nothing in it
        is run but layers of known packages. Files of before that say no digest of their weights are taken as they are.
    """
    path = Path(path)
    content = read_checkpoint(path)
    spec = _spec(content, path)
    state = _state(content.get("state_dict"), path)
    allowed = allowed_packages() if allowed is None else allowed
    network = build_network(spec.config, trusted=False, allowed=allowed, fits=_fitting(state, _PREFIX, path))
    load_weights(network, state, _PREFIX, path)
    check_digest(spec.weights, weights_digest(state), path)
    check_network(network, spec, path)
    return spec, activate(network.eval(), spec.outputs)


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
    state = {_PREFIX + name: value for name, value in network.state_dict().items()}
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
        digest.update(f"{name.removeprefix(_PREFIX)}:{value.dtype}:{tuple(value.shape)}".encode())
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
    rule = "is no checkpoint, is damaged, or holds more than weights and plain values"
    remedy = "copy it again, or choose another model"
    with reading("checkpoint", path, rule, remedy, kind=ModelError, because=False), quiet_checkpoints():
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily or None)
    if not isinstance(content, dict):
        raise ModelError("checkpoint", path, "holds no named values", "choose another model")
    return content


def load_weights(network: nn.Module, state: object, prefix: str, path: Path) -> None:
    """Put the weights whose names begin with `prefix` into a network.

    Raises
    ------
    ModelError
        When one is missing, left over, of another shape or kind, or not finite.
    """
    _fitting(_state(state, path), prefix, path)(network)
    weights = _own(_state(state, path), prefix)
    check_numbers(weights, network.state_dict(), path)
    network.load_state_dict(weights)


def _state(state: object, path: Path) -> Mapping[str, Tensor]:
    if not isinstance(state, Mapping) or not state or not all(isinstance(name, str) for name in state):
        raise ModelError("checkpoint", path, "holds no weights", "choose another model")
    check_tensors(state, path)
    return state


def _own(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _fitting(state: Mapping[str, Tensor], prefix: str, path: Path) -> Callable[[nn.Module], None]:
    """Return what raises ModelError for a network that the weights do not fit; it may have no memory yet."""

    def check(network: nn.Module) -> None:
        if problem := _misfit(network.state_dict(), _own(state, prefix)):
            rule = f"does not fit the network {type(network).__name__}: {problem}"
            raise ModelError("checkpoint", path, rule, "use the configuration that it was trained with")

    return check


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
    return parse_spec(text, "checkpoint", path)
