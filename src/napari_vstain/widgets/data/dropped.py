"""Layers that our reader put on the canvas, because a plate was dropped there, are taken in like our own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_vstain.widgets.layers.book import Book, Origin


class Dropped(QObject):
    """Waits until all layers of one drop are there, enters them in the book, then tells who listens."""

    came = Signal(list)
    """The layers."""

    def __init__(self, book: Book, parent: QObject) -> None:
        super().__init__(parent)
        self._book = book
        self._layers: list[Any] = []
        self._wait_for_more = QTimer(self)
        self._wait_for_more.setSingleShot(True)
        self._wait_for_more.setInterval(0)
        self._wait_for_more.timeout.connect(self._adopt)

    def see(self, event: Any) -> None:
        """Take a layer that was inserted, if our reader made it."""
        layer = event.value
        if "path" in (layer.metadata.get("vstain") or {}) and self._book.origin(layer) is None:
            self._layers.append(layer)
            self._wait_for_more.start()

    def assign(self, layers: Sequence[Any], targets: Sequence[str]) -> None:
        """Note which of the layers show targets."""
        for layer in layers:
            origin = self._book.origin(layer)
            if origin is not None and origin.channel in targets:
                self._book.enter(layer, replace(origin, kind="target"))

    def _adopt(self) -> None:
        layers, self._layers = self._layers, []
        for layer in layers:
            said = layer.metadata["vstain"]
            self._book.enter(layer, Origin("source", said["channel"], said["path"], said["position"]))
        self.came.emit(layers)
