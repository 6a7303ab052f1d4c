"""Which open image is which source channel of a model: by what we know of it, then by its name."""

from collections.abc import Sequence
from typing import Any

from napari_vstain.widgets.compat import is_image
from napari_vstain.widgets.layers.book import Book


def candidates(viewer: Any, book: Book) -> list[Any]:
    """Return the Image layers that may be a source, topmost last; our own predictions are none."""
    ours = {layer for layer, _ in book.shown(viewer, "prediction", "uncertainty")}
    return [layer for layer in viewer.layers if is_image(layer) and layer not in ours]


def match(sources: Sequence[str], layers: Sequence[Any], book: Book, active: Any = None) -> list[Any]:
    """Return a layer, or None, for each source channel; no layer twice.

    A single source that matches no name gets the active image, or the only one.
    """
    left = list(layers)
    found = []
    for source in sources:
        layer = _by_name(source, left, book)
        found.append(layer)
        left = [other for other in left if other is not layer]
    if len(sources) == 1 and found[0] is None:
        found[0] = active if active in layers else (layers[0] if layers else None)
    return found


def _by_name(source: str, layers: Sequence[Any], book: Book) -> Any:
    wanted = source.casefold()
    for rule in (_known, _named, _containing):
        for layer in layers:
            if rule(wanted, layer, book):
                return layer
    return None


def _known(wanted: str, layer: Any, book: Book) -> bool:
    origin = book.origin(layer)
    return origin is not None and origin.channel.casefold() == wanted


def _named(wanted: str, layer: Any, book: Book) -> bool:
    return bool(layer.name.casefold() == wanted)


def _containing(wanted: str, layer: Any, book: Book) -> bool:
    return wanted in layer.name.casefold()
