"""Networks are built from a class path; one found inside a model file may come from known packages only."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.import_paths import stable_path
from napari_vstain.core.models.files.allowed import allow, allowed_file, allowed_packages, class_paths

KNOWN_PACKAGES = ("napari_vstain", "torch.nn", "monai")
"""Where the network of a file that somebody else may have written is looked for."""
MOST_LAYERS = 20_000
_MOST = 2**20


def build_network(
    config: Mapping[str, Any],
    trusted: bool = False,
    allowed: Sequence[str] = (),
    fits: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
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
    fits : callable, optional
        Raises for a network that is not wanted. It is asked with one that has no memory yet, so that a file of a few
        bytes cannot claim any amount of it.

    Raises
    ------
    ModelError
        When the path leads to nothing, to no network or out of the known packages, or the arguments do not fit.
    """
    if not trusted:
        _check_size(config)
    if fits is not None and (sketch := _sketched(config, trusted, allowed)) is not None:
        fits(sketch)
    path = _class_path(config)
    network = network_class(path, None if trusted else (*KNOWN_PACKAGES, *allowed))
    arguments = {
        name: _argument(value, trusted, allowed) for name, value in dict(config.get("init_args") or {}).items()
    }
    rule = "cannot be built from its arguments"
    with reading("network", path, rule, "correct its init_args", kind=ModelError), _few_layers(trusted):
        built = network(**arguments)
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
    found = {path: network_class(path, None) for path in class_paths(config)}
    places = [*found, *(f"{network.__module__}.{network.__qualname__}" for network in found.values())]
    own = [place.partition(".")[0] for place in places if not _within(place, KNOWN_PACKAGES)]
    _check(config, (*KNOWN_PACKAGES, *allowed_packages(), *own))
    allow(own)


def _check(config: Mapping[str, Any], packages: Sequence[str]) -> None:
    """Refuse a configuration that a model file may not hold; nothing is built."""
    network_class(_class_path(config), packages)
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
    return {"class_path": stable_path(f"{kind.__module__}.{kind.__qualname__}"), "init_args": init_args}


def _sketched(config: Mapping[str, Any], trusted: bool, allowed: Sequence[str]) -> nn.Module | None:
    """Return the network without any memory; None where its constructor needs some."""
    try:
        with torch.device("meta"):
            return build_network(config, trusted, allowed)
    except ModelError:
        return None


@contextmanager
def _few_layers(trusted: bool) -> Iterator[None]:
    """Raise inside when a file's network has more layers than any: it would be built for ever."""
    if trusted:
        yield
        return
    count, thread = 0, get_ident()

    def counted(*_: object) -> None:
        nonlocal count
        if get_ident() == thread:  # the hook hears of every network that is built meanwhile
            count += 1
            if count > MOST_LAYERS:
                raise ValueError(f"it has more than {MOST_LAYERS} layers")

    hook = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


def _check_size(config: Any) -> None:
    """Raise ModelError for arguments that nobody would write: their like is only there to keep others waiting."""
    if isinstance(config, (list, tuple)):
        values = list(config)
    elif isinstance(config, Mapping):
        values = list(config.values())
    else:
        if isinstance(config, (int, float)) and abs(config) > _MOST:
            raise ModelError("network argument", config, f"is more than {_MOST}", "use another file")
        return
    for value in values:
        _check_size(value)


def _class_path(config: Mapping[str, Any]) -> str:
    path = config.get("class_path")
    if not isinstance(path, str) or not path:
        raise ModelError("network", None, "has no class_path", "name its class, as in `monai.networks.nets.BasicUNet`")
    return path


def network_class(path: str, packages: Sequence[str] | None = None) -> type[nn.Module]:
    """Return the class of a network that a path leads to; of `packages` only, if they are given.

    Raises
    ------
    ModelError
        When the path leads to nothing, to no network or out of the packages.
    """
    if packages is not None and not _within(path, packages):
        raise _forbidden(path, packages)
    module, _, name = stable_path(path).rpartition(".")
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
