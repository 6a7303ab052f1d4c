"""Layers that our reader put on the canvas, before or after a dock was opened, are taken in like our own."""

from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_vstain.widgets.layers.registry import LayerOrigin, LayerRegistry


class Arrivals(QObject):
    """Waits until all layers of one reading are there, enters them in the registry, then tells who listens."""

    came = Signal(list)
    """The layers, all of one position of one dataset."""

    def __init__(self, viewer: Any, registry: LayerRegistry) -> None:
        super().__init__()
        self._registry = registry
        self._layers: list[Any] = []
        self._wait_for_more = QTimer(self)
        self._wait_for_more.setSingleShot(True)
        self._wait_for_more.setInterval(0)
        self._wait_for_more.timeout.connect(self._take_in)
        for layer in viewer.layers:
            self._see(layer)
        viewer.layers.events.inserted.connect(self._inserted)

    def _inserted(self, event: Any) -> None:
        self._see(event.value)

    def _see(self, layer: Any) -> None:
        said = layer.metadata.get("vstain")
        if isinstance(said, dict) and "path" in said and self._registry.origin(layer) is None:
            self._layers.append(layer)
            self._wait_for_more.start()

    def _take_in(self) -> None:
        layers, self._layers = self._layers, []
        places = [(layer.metadata["vstain"]["path"], layer.metadata["vstain"]["position"]) for layer in layers]
        for layer, place in zip(layers, places, strict=True):
            self._registry.add(layer, LayerOrigin("source", layer.metadata["vstain"]["channel"], *place))
        self.came.emit([layer for layer, place in zip(layers, places, strict=True) if place == places[-1]])
