"""Networks are built from a class path; one found inside a model file may come from known packages only."""

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.allowed import allow, allowed_file, allowed_packages, class_paths

KNOWN_PACKAGES = ("napari_vstain", "torch.nn", "monai")
"""Where the network of a file that somebody else may have written is looked for."""


def build_network(config: Mapping[str, Any], trusted: bool = False, allowed: Sequence[str] = ()) -> nn.Module:
    """Return the network that ``{"class_path": "a.b.C", "init_args": {…}}`` describes, its weights random.

    Parameters
    ----------
    config : mapping
        Arguments that are themselves such a mapping are built first.
    trusted : bool
        True for the user's own settings: any import path. False for what was read from a model file: only
        napari_vstain, torch.nn, monai and `allowed`, and no argument may be a path or an address.
    allowed : sequence of str
        Packages that the user added to the known ones.

    Raises
    ------
    ModelError
        When the path leads to nothing, to no network or out of the known packages, or the arguments do not fit.
    """
    path = _class_path(config)
    network = _find(path, None if trusted else (*KNOWN_PACKAGES, *allowed))
    arguments = {
        name: _argument(value, trusted, allowed) for name, value in dict(config.get("init_args") or {}).items()
    }
    try:
        built = network(**arguments)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError, AssertionError) as error:
        rule = f"cannot be built from its arguments ({' '.join(str(error).split())})"
        raise ModelError("network", path, rule, "correct its init_args") from error
    assert isinstance(built, nn.Module)
    return built


def allow_trained(config: Mapping[str, Any]) -> None:
    """Allow this user's model files to name the network that a training's settings describe, and check that they can.

    Raises
    ------
    ModelError
        When a checkpoint of it could not be opened again: it is not found by its path, or points to other files.
    StorageError
        When the list of allowed packages cannot be written.
    """
    found = {path: _find(path, None) for path in class_paths(config)}
    places = [*found, *(f"{network.__module__}.{network.__qualname__}" for network in found.values())]
    own = [place.partition(".")[0] for place in places if not _within(place, KNOWN_PACKAGES)]
    _check(config, (*KNOWN_PACKAGES, *allowed_packages(), *own))
    allow(own)


def _check(config: Mapping[str, Any], packages: Sequence[str]) -> None:
    """Refuse a configuration that a model file may not hold; nothing is built."""
    _find(_class_path(config), packages)
    for value in dict(config.get("init_args") or {}).values():
        _check_argument(value, packages)


def _check_argument(value: Any, packages: Sequence[str]) -> None:
    if isinstance(value, Mapping) and "class_path" in value:
        _check(value, packages)
    elif isinstance(value, Mapping):
        for item in value.values():
            _check_argument(item, packages)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_argument(item, packages)
    elif isinstance(value, str):
        _check_text(value)


def _check_text(value: str) -> None:
    if any(mark in value for mark in "/\\:"):
        raise ModelError("network argument", value, "a model file may not point to other files", "use another file")


def network_config(network: nn.Module, **init_args: Any) -> dict[str, Any]:
    """Return the mapping from which `build_network` makes a network of this class."""
    kind = type(network)
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": init_args}


def _class_path(config: Mapping[str, Any]) -> str:
    path = config.get("class_path")
    if not isinstance(path, str) or not path:
        raise ModelError("network", None, "has no class_path", "name its class, as in `monai.networks.nets.BasicUNet`")
    return path


def _find(path: str, packages: Sequence[str] | None) -> type[nn.Module]:
    if packages is not None and not _within(path, packages):
        raise _forbidden(path, packages)
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        rule = f"cannot be imported ({' '.join(str(error).split())})"
        raise ModelError("network", path, rule, "check its class_path, or install its package") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ModelError("network", path, "is no torch.nn.Module", "name the class of a network")
    if packages is not None and not _within(f"{found.__module__}.{found.__qualname__}", packages):
        raise _forbidden(path, packages)
    return found


def _within(path: str, packages: Sequence[str]) -> bool:
    return any(path.startswith(f"{package}.") for package in packages)


def _forbidden(path: str, packages: Sequence[str]) -> ModelError:
    rule = f"a model file may name networks of {', '.join(packages)} only"
    return ModelError("network", path, rule, f"if you trust the file, add its package to {allowed_file()}")


def _argument(value: Any, trusted: bool, allowed: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        if "class_path" in value:
            return build_network(value, trusted, allowed)
        return {key: _argument(item, trusted, allowed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_argument(item, trusted, allowed) for item in value]
    if not trusted and isinstance(value, str):
        _check_text(value)
    return value
