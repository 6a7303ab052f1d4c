"""Hold a key to see the target where the prediction is, and let go to see the prediction again."""

from collections.abc import Iterator
from typing import Any

from napari_vstain.widgets.layers.registry import LayerRegistry


def flip(viewer: Any, registry: LayerRegistry) -> Iterator[None]:
    """Swap which of prediction and target is visible; resume to swap back. Touches only layers that we added."""
    predictions = [layer for layer, _ in registry.shown(viewer, "prediction", "uncertainty")]
    targets = [layer for layer, _ in registry.shown(viewer, "target")]
    before = {layer: layer.visible for layer in (*predictions, *targets)}
    showing_prediction = any(layer.visible for layer in predictions)
    channels = {registry.origin(layer).channel for layer in predictions if layer.visible}  # type: ignore[union-attr]
    for layer, origin in list(registry.shown(viewer, "prediction", "uncertainty", "target")):
        is_target = origin.kind == "target"
        wanted = not channels or origin.channel in channels
        layer.visible = (is_target == showing_prediction) and (wanted if is_target else before[layer] or not is_target)
    yield
    for layer, visible in before.items():
        layer.visible = visible
