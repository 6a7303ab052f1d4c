"""Names of a package that are imported when somebody asks for them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

ROOT = __name__.partition(".")[0]


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a package's ``__getattr__`` (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    modules : mapping of str to str
        Name: the module below napari_vstain that defines it.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{ROOT}.{modules[name]}"), name)

    return get
