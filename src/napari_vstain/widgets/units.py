"""napari reads the list of all units with its first layer, and stands still for 0.2 s: here it is read before."""

from typing import Any


def read_units() -> Any | None:
    """Return a registry of all units as pint makes it, on any thread; None when the application has one."""
    import pint

    return pint.UnitRegistry(on_redefinition="raise") if _unread() else None


def use_units(registry: Any | None) -> None:
    """Make a registry the application's, on the main thread, unless one was needed meanwhile."""
    import pint

    if registry is not None and _unread():
        pint.set_application_registry(registry)


def _unread() -> bool:
    import pint
    from pint.registry import LazyRegistry

    now = pint.get_application_registry()
    return isinstance(now.get(), LazyRegistry)  # it becomes another class when it is first used
