"""The heavy modules, and all units, are loaded in the background while the user looks around, and cost little."""

import importlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtCore import QObject, QTimer, Signal

from napari_vstain.core.jobs import JobStatus
from napari_vstain.core.process_tweaks import freeze_objects, read_units, use_units
from napari_vstain.core.progress import Progress
from napari_vstain.widgets.main_thread import JobEventPump, Starter

DELAY_MS = 2000
PAUSE_S = 0.03
HEAVY = (
    "zarr", "dask.array", "scipy.ndimage", "pyqtgraph", "pandas", "onnxruntime",
    "torch", "onnx", "skimage.filters", "lightning.pytorch",
)  # fmt: skip
"""What some step imports, and nothing else, in the order in which a user reaches them."""

_log = logging.getLogger(__name__)


class WarmUp(QObject):
    """Imports the heavy modules on a thread, one at a time, and measures how long the window stood still for it.

    What stops the window is the garbage collector, which walks all objects that the modules bring: they are frozen as
    they come (`freeze_objects`); `thaw_objects` when something that was there meanwhile should be collected.
    """

    finished = Signal()

    def __init__(self, pump: JobEventPump, starter: Starter, modules: Sequence[str] = HEAVY) -> None:
        super().__init__()
        self.gap_max_ms = 0.0
        """The largest gap of a 5 ms main-thread timer while all was loaded."""
        self.worst = ""
        """What made it."""
        self.done = False
        self._pump, self._starter, self._modules = pump, starter, tuple(modules)
        self._now = ""
        self._last = 0.0
        self._clock = QTimer(self)
        self._clock.setInterval(5)
        self._clock.timeout.connect(self._tick)
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.timeout.connect(self.start)

    def schedule(self) -> None:
        """Start a little after the first dock was shown, when nothing else is under way."""
        if os.environ.get("VSTAIN_WARM_UP", "1") != "0":
            self._delay.start(DELAY_MS)

    def start(self) -> None:
        """Begin now; does nothing the second time."""
        modules, self._modules = self._modules, ()
        if not modules:
            return
        self._last = time.perf_counter()
        self._clock.start()
        job = self._starter.start(lambda progress: self._load(modules, progress), "warm-up", quiet=True)
        self._pump.listen(job, self, produced=use_units, finished=self._finish)

    def stop(self) -> None:
        """Start nothing any more."""
        self._modules = ()
        self._delay.stop()
        self._clock.stop()

    def _load(self, modules: Sequence[str], progress: Progress) -> None:
        steps: dict[str, Callable[[], object]] = {"units": lambda: progress.produce(read_units())}
        steps |= {name: partial(importlib.import_module, name) for name in modules}
        for name, load in steps.items():
            progress.check()
            self._now = name
            try:
                load()
            except ImportError:
                _log.debug("%s is not installed", name)
            freeze_objects()
            progress.token.wait(PAUSE_S)

    def _tick(self) -> None:
        now = time.perf_counter()
        gap_ms, self._last = 1000 * (now - self._last), now
        if gap_ms > self.gap_max_ms:
            self.gap_max_ms, self.worst = gap_ms, self._now

    def _finish(self, status: JobStatus) -> None:
        self._clock.stop()
        self.done = True
        self.finished.emit()
        _log.info("warm-up: the window stood still for at most %.0f ms (%s)", self.gap_max_ms, self.worst)
