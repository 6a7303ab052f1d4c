"""A layer is repainted no oftener than the window can afford: at most a tenth of its time."""

import time
from typing import Any

from qtpy.QtCore import QObject, QTimer

SHARE = 10
"""The pause between two repaints, in repaints."""
LEAST_MS = 100


class Repainter(QObject):
    """Refreshes a layer soon after `ask`, many asks at once, and measures how long the window took to repaint it."""

    def __init__(self, layer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.repaint_s = 0.0
        """What a refresh and the repaint after it took last, in seconds."""
        self.slot_s = 0.0
        """The longest that the refresh alone took."""
        self._layer: Any = layer
        self._asked = self._last = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._due)
        self._painter = QTimer(self)
        self._painter.setSingleShot(True)
        self._painter.timeout.connect(self._painted)
        self._began = 0.0

    @property
    def interval_ms(self) -> int:
        """The pause before the next repaint."""
        return max(LEAST_MS, int(1000 * SHARE * self.repaint_s))

    def ask(self) -> None:
        """Repaint soon."""
        self._asked = True
        if not self._timer.isActive():
            self._timer.start(0 if self.repaint_s == 0 else self.interval_ms)

    def finish(self) -> None:
        """Repaint a last time, now and thumbnail included: the user waits for it."""
        self._asked = self._last = True
        self._timer.start(0)

    def _due(self) -> None:
        if not self._asked:
            return
        began = time.perf_counter()
        refresh(self._layer, thumbnail=self._last)
        self._asked = self._last = False
        self.slot_s = max(self.slot_s, time.perf_counter() - began)
        # A timer of 0 ms fires once the paint that the refresh asked for is done.
        self._began = began
        self._painter.start(0)
        self._timer.start(self.interval_ms)

    def _painted(self) -> None:
        self.repaint_s = time.perf_counter() - self._began


def refresh(layer: Any, thumbnail: bool = False) -> None:
    """Show what an array behind a layer now holds, its extent and its contrast untouched."""
    layer.refresh(extent=False, thumbnail=thumbnail, highlight=False)
