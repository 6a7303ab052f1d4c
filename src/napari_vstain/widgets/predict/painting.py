"""One live prediction in the viewer: it streams into layers, and follows what is looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_vstain.core.inference.augment import Augmentation, uncertainties
from napari_vstain.core.inference.cells import Area
from napari_vstain.core.jobs import Job
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.session import Live
from napari_vstain.widgets.compat import full_resolution
from napari_vstain.widgets.desk import Desk
from napari_vstain.widgets.layers.predictions import Canvases
from napari_vstain.widgets.layers.view import drawn, seen
from napari_vstain.widgets.predict.buttons import Scope

LOOK_MS = 150
"""How long the camera must rest before the order of the tiles follows it."""


class Painting(QObject):
    """Paints one prediction at a time; between two it does nothing."""

    def __init__(self, desk: Desk, parent: QObject) -> None:
        super().__init__(parent)
        self._desk = desk
        self._live: Live | None = None
        self._image: Any = None
        self.canvases: Canvases | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(LOOK_MS)
        self._rest.timeout.connect(self._look)

    def start(self, images: Sequence[Any], scope: Scope, options: Mapping[str, Any], **how: Any) -> Job[Any]:
        """Predict open images; `how` is what `Session.stream` takes besides.

        Raises
        ------
        DatasetError
            When the drawn region is wanted and there is none.
        """
        session, viewer, image = self._desk.session, self._desk.viewer, images[0]
        axes = self._desk.book.axes(image)
        view = Area(*seen(viewer, image, axes))
        where = view if scope == "view" else Area(*drawn(viewer, image)) if scope == "region" else Area()
        spec = augmented(session.open_model.spec, options)
        canvases = self._desk.predictions.canvases(viewer, self._desk.book, spec, image)
        arrays = [full_resolution(layer) for layer in images]
        self._live = session.stream(arrays, axes, canvases.outputs, view, where, **how, **options)
        self._image, self.canvases = image, canvases
        return self._live.job

    def repaint(self) -> None:
        """Show soon what has come."""
        if self.canvases is not None:
            self.canvases.ask()

    def finish(self) -> None:
        """Show all that has come, and let go."""
        canvases = self.canvases
        self._live = self.canvases = self._image = None
        if canvases is not None:
            canvases.finish()

    def moved(self, event: object = None) -> None:
        """Learn that something else is looked at."""
        if self._live is not None:
            self._rest.start()

    def _look(self) -> None:
        if self._live is not None:
            axes = self._desk.book.axes(self._image)
            self._live.look_at(Area(*seen(self._desk.viewer, self._image, axes)))


def augmented(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    """Return a model's spec with the outputs that flips and rotations add, if they are asked for."""
    if options.get("augment", Augmentation.NONE) is Augmentation.NONE:
        return spec
    return spec.model_copy(update={"outputs": (*spec.outputs, *uncertainties(spec))})
