"""One live prediction in the viewer: it streams into layers, follows what is looked at, and ends with its layers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from weakref import ref

from qtpy.QtCore import QObject, QTimer

from napari_vstain.core.inference.augment import Augmentation, uncertainties
from napari_vstain.core.inference.image_source import ChannelStack
from napari_vstain.core.inference.streaming import StreamRequest, TileDone
from napari_vstain.core.jobs import Job, JobStatus
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.session import LivePrediction, Session
from napari_vstain.core.tiling.tile_queue import Area
from napari_vstain.widgets.compat import full_resolution
from napari_vstain.widgets.layers.predictions import PredictionLayers, Predictions
from napari_vstain.widgets.layers.registry import LayerRegistry
from napari_vstain.widgets.layers.view import drawn, seen
from napari_vstain.widgets.main_thread import JobEventPump

Scope = Literal["field", "view", "region"]
"""What of the open images is predicted into layers."""
LOOK_MS = 150
"""How long the camera must rest before the order of the tiles follows it."""


class LivePredictionController(QObject):
    """Paints one prediction at a time, for all docks of one viewer; between two it does nothing."""

    def __init__(
        self, viewer: Any, session: Session, pump: JobEventPump, registry: LayerRegistry, predictions: Predictions
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._pump = ref(viewer), session, pump
        self._registry, self._predictions = registry, predictions
        self._live: LivePrediction | None = None
        self._images: tuple[Any, ...] = ()
        self.shown: PredictionLayers | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(LOOK_MS)
        self._rest.timeout.connect(self._look)
        viewer.layers.events.removed.connect(self._removed)

    def start(self, images: Sequence[Any], scope: Scope, options: Mapping[str, Any], **how: Any) -> Job[Any]:
        """Predict open images; `how` is what a `StreamRequest` says besides.

        Raises
        ------
        DatasetError
            When the drawn region is wanted and there is none.
        """
        session, viewer, image = self._session, self._viewer(), images[0]
        axes = self._registry.axes(image)
        view = Area(*seen(viewer, image, axes))
        where = view if scope == "view" else Area(*drawn(viewer, image)) if scope == "region" else Area()
        model = session.open_model
        arrays = [full_resolution(layer) for layer in images]
        stack = ChannelStack(arrays, axes)
        layers = self._predictions.layers_for(model.name, augmented(model.spec, options), images)
        layers.clear(where, (sorted(options.items()), sorted(how.items()), [id(array) for array in arrays]))
        self._images, self.shown = tuple(images), layers
        layers.ask()
        request = StreamRequest(stack, view, where, layers.outputs, options.get("tile_px"), **how)
        loading = {name: value for name, value in options.items() if name != "tile_px"}
        live = session.stream(request, title=layers.subject.place[1] or image.name, **loading)
        self._live = live

        def finish(status: JobStatus) -> None:
            layers.finish()
            if self._live is live:  # and nobody has started the next one before this was heard
                self._live, self.shown, self._images = None, None, ()

        self._pump.listen(live.job, self, produced=self._take, finished=finish)
        return live.job

    def moved(self, event: object = None) -> None:
        """Learn that something else is looked at."""
        if self._live is not None:
            self._rest.start()

    def _take(self, item: object) -> None:
        if isinstance(item, TileDone) and self.shown is not None:
            self.shown.ask()

    def _removed(self, event: Any) -> None:
        """Stop when a layer that is predicted from, or painted on, is gone: nobody sees what would come."""
        if self._live is not None and self.shown is not None:
            needed = (*self._images, *self.shown.layers)
            if any(event.value is layer for layer in needed):
                self._live.job.stop()

    def _look(self) -> None:
        if self._live is not None and self._images:
            axes = self._registry.axes(self._images[0])
            self._live.look_at(Area(*seen(self._viewer(), self._images[0], axes)))


def augmented(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    """Return a model's spec with the outputs that flips and rotations add, if they are asked for."""
    if options.get("augment", Augmentation.NONE) is Augmentation.NONE:
        return spec
    return spec.model_copy(update={"outputs": (*spec.outputs, *uncertainties(spec))})
