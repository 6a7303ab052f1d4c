"""File ▸ Open Sample: the plate is made in the background while the window lives on, and its layers come when ready."""

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

from napari_vstain.contributions import LayerData, sample_plate
from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.core.process_tweaks import read_units, use_units
from napari_vstain.core.progress import Progress
from napari_vstain.widgets.viewer_context import ViewerContext, context_of

_TITLE = "Making the sample plate"
_LOOK_MS = 30


def open_sample() -> list[LayerData]:
    """Show the first position of the simulated plate; it is made once, among the user's caches.

    Return its last layer: the others are added here, one a turn of the window. napari wants it back from this call,
    so the window's events are handled here until it is there (8 s the first time); napari's activity dock shows how
    far it is. What napari loads with its first layer (the list of units, xarray: 0.8 s) is loaded in the background.
    """
    import napari
    from napari.layers import Layer

    viewer = napari.current_viewer()
    context = context_of(viewer)
    made: list[Any] = [None, []]

    def make(progress: Progress) -> None:
        made[0] = read_units()
        import xarray  # noqa: F401

        made[1] = [_read(*layer) for layer in sample_plate(progress)]

    job = context.session.start(make, _TITLE)
    _wait(job, context)
    job.result()
    use_units(made[0])
    *others, last = made[1]
    for layer in others:
        viewer.add_layer(Layer.create(*layer))
        QApplication.processEvents()
    return [last]


def _read(data: Any, arguments: dict[str, Any], kind: str) -> LayerData:
    """Return a layer with its pixels in memory: the first that dask computes takes 1 s, for what it imports."""
    finest = data[0] if arguments.get("multiscale") else data
    return np.asarray(finest), {**arguments, "multiscale": False}, kind


def _wait(job: Job[None], context: ViewerContext) -> None:
    """Handle events until a job has ended, and show in the activity dock how far it is; stop it with the window."""
    loop, timer = QEventLoop(), QTimer()
    show, close = _bar()

    def look() -> None:
        show(job.status)
        if context.closed:
            job.stop()
        if not job.running:
            loop.quit()

    timer.timeout.connect(look)
    timer.start(_LOOK_MS)
    loop.exec()
    if job.running:  # the program ends
        job.stop()
    timer.stop()
    close()


def _bar() -> tuple[Callable[[JobStatus], None], Callable[[], None]]:
    """Return what shows a status in napari's activity dock, and what ends that."""
    from napari.utils import progress

    bar = progress(desc=_TITLE, total=0)

    def show(status: JobStatus) -> None:
        if status.total and bar.total != status.total:
            bar.reset(int(status.total))
        if status.done > bar.n:
            bar.update(status.done - bar.n)

    return show, bar.close
