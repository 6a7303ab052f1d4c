"""The open images as the session knows them: what each is for, and which of them a network can take."""

from collections.abc import Sequence
from typing import Any
from weakref import ref

from napari_vstain.core.session import OpenImage, Role, Session
from napari_vstain.widgets.compat import is_image
from napari_vstain.widgets.layers.axes import labelled_axes, refusal
from napari_vstain.widgets.layers.registry import LayerRegistry


def candidates(viewer: Any, registry: LayerRegistry) -> list[Any]:
    """Return the Image layers that may be a source, topmost last; our own predictions, and copies of them, are none."""
    images = [layer for layer in viewer.layers if is_image(layer) and not _predicted(layer, registry)]
    return [layer for layer in images if not refusal(layer, labelled_axes(layer))]


def refusals(viewer: Any, registry: LayerRegistry) -> list[str]:
    """Return why the Image layers that are no candidates are none, topmost first."""
    images = [layer for layer in reversed(viewer.layers) if is_image(layer) and not _predicted(layer, registry)]
    return [why for layer in images if (why := refusal(layer, labelled_axes(layer)))]


def open_images(layers: Sequence[Any], registry: LayerRegistry, session: Session) -> dict[OpenImage, Any]:
    """Return the layers by what the session must know of them to match them to a model's sources."""
    return {_open_image(layer, registry, session): layer for layer in layers}


def _open_image(layer: Any, registry: LayerRegistry, session: Session) -> OpenImage:
    origin = registry.origin(layer)
    if origin is None or not origin.channel:
        return OpenImage(ref(layer), "", layer.name)
    dataset, position = session.dataset, session.position
    opened = dataset is not None and str(dataset.path) == origin.dataset
    role: Role = "target" if origin.kind == "target" else "source" if origin.kind == "source" else ""
    if opened:  # the roles may have changed since it was loaded
        targets, sources = session.targets, session.sources
        role = "target" if origin.channel in targets else "source" if origin.channel in sources else ""
    here = opened and position is not None and position.key == origin.position
    return OpenImage(("channel", origin.channel), origin.channel, layer.name, role, here)


def _predicted(layer: Any, registry: LayerRegistry) -> bool:
    origin = registry.origin(layer)
    said = layer.metadata.get("vstain") or {}
    kind = origin.kind if origin is not None else said.get("kind") if isinstance(said, dict) else None
    return kind in ("prediction", "uncertainty")
