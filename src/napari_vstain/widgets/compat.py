"""The only place that knows which napari runs: what was renamed, hidden behind a proxy, or taken by a key."""

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QMainWindow, QWidget

from napari_vstain.widgets.kit.colours import DARK, Colour, Theme


def bare(viewer: Any) -> Any:
    """Return the viewer behind the proxy that napari hands to plugins: the same object for every dock."""
    return getattr(viewer, "__wrapped__", viewer)


def main_window(widget: QWidget) -> QMainWindow | None:
    """Return the napari window that holds `widget`, floating or docked, or None while it is in none."""
    parent: Any = widget
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parent()
    return parent


def theme_of(viewer: Any) -> Theme:
    """Return what the docks take from the theme of a viewer's window; napari's dark one where it has none."""
    from napari.utils.theme import get_theme

    try:
        theme = get_theme(viewer.theme)
    except (AttributeError, ValueError):
        return DARK
    return Theme(*(Colour(*colour.as_rgb_tuple()[:3]) for colour in (theme.background, theme.primary, theme.text)))


def camera_of(viewer: Any) -> Any:
    """Return the camera, wherever this napari keeps it."""
    return getattr(viewer, "scene", viewer).camera


def keys_in_use(viewer: Any) -> dict[str, str]:
    """Return the keys that napari's shortcuts and this viewer's own bindings take, with what they do."""
    from napari.settings import get_settings

    taken: dict[str, str] = {}
    for action, keys in get_settings().shortcuts.shortcuts.items():
        taken.update({str(key): action for key in keys})
    taken.update({str(key): getattr(function, "__name__", "bound") for key, function in viewer.keymap.items()})
    return taken


def bind_key(viewer: Any, key: str, function: Callable[[Any], Any]) -> str:
    """Bind a free key on the viewer; return "" or, when it is taken, what takes it (then nothing is bound).

    A key that an earlier dock of ours has gives way: that dock may be gone.
    """
    ours = any(str(known) == _native(key) and _is_ours(function) for known, function in viewer.keymap.items())
    holder = "" if ours else keys_in_use(viewer).get(_native(key), "")
    if not holder:
        viewer.bind_key(key, function, overwrite=ours)
    return holder


def _native(key: str) -> str:
    """Return a key as napari writes it in its tables."""
    return key.replace("-", "+")


def _is_ours(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("napari_vstain.")


def unbind_key(viewer: Any, key: str) -> None:
    """Free a key that `bind_key` bound."""
    viewer.bind_key(key, None, overwrite=True)


def corner_pixels(layer: Any) -> Any:
    """Return what the canvas shows of a layer, ((low…), (high…)), in pixels of its full resolution."""
    factors = layer.downsample_factors[layer.data_level] if layer.multiscale else 1
    return layer.corner_pixels * factors


def full_resolution(layer: Any) -> Any:
    """Return the array of a layer, the finest level when it is a pyramid."""
    return layer.data[0] if layer.multiscale else layer.data


def is_image(layer: Any) -> bool:
    """Return True for an Image layer."""
    from napari.layers import Image

    return isinstance(layer, Image)
