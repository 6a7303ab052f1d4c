"""What the docks of one viewer share: one session, one pump, and the layers that we made."""

import os
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_vstain.core.jobs import Job
from napari_vstain.core.process_tweaks import leave_quickly, quick_turns, thaw_objects
from napari_vstain.core.session import JobKind, Session
from napari_vstain.widgets.compat import bare, main_window, theme_of
from napari_vstain.widgets.kit.colours import Theme
from napari_vstain.widgets.layers.contrast import Contrast
from napari_vstain.widgets.layers.predictions import Predictions
from napari_vstain.widgets.layers.registry import LayerRegistry
from napari_vstain.widgets.live_prediction import LivePredictionController
from napari_vstain.widgets.main_thread import JobEventPump
from napari_vstain.widgets.position_opener import Opener, bind_steps
from napari_vstain.widgets.warmup import WarmUp


class ViewerContext:
    """Session, pump and our layers of one viewer. It holds the viewer weakly, so that it keeps no window alive."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = weakref.ref(bare(viewer))
        self.session = Session()
        self.session.threads = max((os.cpu_count() or 2) - 1, 1)  # the window keeps a core for itself
        leave_quickly()
        self._tweaks = ExitStack()
        self._tweaks.enter_context(quick_turns())
        self.pump = JobEventPump()
        self.registry = LayerRegistry()
        self.contrast = Contrast(self.registry)
        self.predictions = Predictions(bare(viewer), self.registry, self.contrast)
        self.opener = Opener(bare(viewer), self.session, self.pump, self.registry, self.contrast, self.predictions)
        self.live_prediction = LivePredictionController(
            bare(viewer), self.session, self.pump, self.registry, self.predictions
        )
        bind_steps(bare(viewer), self.opener)
        self.warm_up = WarmUp(self.pump, self.session)
        self.warm_up.finished.connect(self._thaw)
        self._early: weakref.WeakSet[Any] = weakref.WeakSet()
        self._watched: Callable[[], QMainWindow | None] = lambda: None
        self.closed = False
        self.session.job_started.connect(self._watch)
        QApplication.instance().aboutToQuit.connect(self._quit)

    @property
    def viewer(self) -> Any:
        """The viewer, which lives as long as its docks."""
        viewer = self._viewer()
        assert viewer is not None, "the viewer of this dock is gone"
        return viewer

    @property
    def theme(self) -> Theme:
        """The colours of the viewer's window."""
        return theme_of(self._viewer())

    def attach(self, dock: QWidget) -> None:
        """Learn of a dock that was shown: its window's end is the session's end."""
        window = main_window(dock)
        if window is None or window is self._watched():
            return
        self._watched = weakref.ref(window)
        window.destroyed.connect(self._close_window)
        self._early.update(self.viewer.layers)
        self.viewer.layers.events.inserted.connect(self._came)
        self.viewer.layers.events.removed.connect(self._thaw)
        self.warm_up.schedule()

    def close(self, timeout_s: float = 5) -> None:
        """Stop timers and jobs; wait for the jobs at most `timeout_s`. Does nothing the second time."""
        self.closed = True
        for part in (self.warm_up, self.pump):
            if isalive(part):  # at the end of a program Qt may have deleted them already
                part.stop()
        self.session.close(timeout_s)
        self._tweaks.close()
        thaw_objects()

    def _watch(self, job: Job[Any]) -> None:
        """Say that there is another run when a training ends, whether or not a dock is open."""
        if job.kind == JobKind.TRAIN:
            self.pump.listen(job, finished=lambda _: self.session.runs_changed.emit())

    def _came(self, event: Any) -> None:
        if not self.warm_up.done:
            self._early.add(event.value)

    def _thaw(self, event: object = None) -> None:
        viewer = self._viewer()
        if viewer is not None and self.warm_up.done and any(layer not in viewer.layers for layer in self._early):
            thaw_objects()  # or the image of a layer that came before the modules would stay in memory
            self._early.clear()

    def _close_window(self) -> None:
        self.close(timeout_s=0)  # ask only: the jobs are waited for when the application quits

    def _quit(self) -> None:
        self.close()


_contexts: weakref.WeakKeyDictionary[Any, ViewerContext] = weakref.WeakKeyDictionary()


def context_of(viewer: Any) -> ViewerContext:
    """Return the context of a viewer, the same one for all its docks; made when the first dock asks."""
    key = bare(viewer)
    if key not in _contexts or _contexts[key].closed:
        _contexts[key] = ViewerContext(key)
    return _contexts[key]
