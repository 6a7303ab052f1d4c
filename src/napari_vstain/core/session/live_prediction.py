"""A prediction of open images that follows what the user looks at, and what it says of itself while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from napari_vstain.core.jobs import Job
from napari_vstain.core.progress import Progress
from napari_vstain.core.session.open_models import Model, PredictorCache

if TYPE_CHECKING:
    from napari_vstain.core.inference.predictor import Predictor
    from napari_vstain.core.inference.streaming import Stream, StreamRequest
    from napari_vstain.core.tiling.tile_queue import Area


@dataclass(frozen=True)
class EngineInfo:
    """What a prediction runs on, for people; a job says it once the model is loaded."""

    engine: str
    device: str
    precision: str


@dataclass(frozen=True)
class AccuracyNote:
    """One sentence on what the tiles of a prediction cost in exactness; a job says it once it is measured."""

    sentence: str


class PredictionNotes:
    """What a prediction said of itself besides its tiles; a job's `Record`, for a dock that opens later."""

    def __init__(self) -> None:
        self.items: list[object] = []

    def take(self, item: object) -> None:
        """Keep an item, unless it is a tile."""
        from napari_vstain.core.inference.streaming import TileDone

        if not isinstance(item, TileDone):
            self.items.append(item)


class LivePrediction:
    """A prediction of open images, whose order follows what the user looks at, even while the model still loads."""

    job: Job[Mapping[str, Any]]

    def __init__(
        self, request: StreamRequest, model: Model, options: Mapping[str, Any], predictors: PredictorCache
    ) -> None:
        self.request = request
        self._model, self._options, self._predictors = model, options, predictors
        self._view = request.view
        self._stream: Stream | None = None
        self._lock = Lock()

    def look_at(self, view: Area) -> None:
        """Go on with what is left from the centre of `view` outward; from any thread."""
        with self._lock:
            self._view = view
            if self._stream is not None:
                self._stream.look_at(view)

    def __call__(self, progress: Progress) -> Mapping[str, Any]:
        """Load the model, unless it is loaded, and predict."""
        from napari_vstain.core.inference.streaming import Stream

        stream = Stream(self.request, self._load(progress))
        with self._lock:
            self._stream = stream
            stream.look_at(self._view)
        made = stream(progress)
        if caveat := stream.caveat:
            progress.produce(AccuracyNote(caveat))
        return made

    def _load(self, progress: Progress) -> Predictor:
        progress.phase("loading the model")
        predictor = self._predictors.get(self._model, self._options, progress)
        if self.request.resample:
            predictor = _resampled(predictor, self.request.spacing_um)
        progress.produce(EngineInfo(predictor.engine.name, predictor.engine.device, predictor.engine.precision))
        return predictor


def _resampled(predictor: Predictor, spacing_um: Sequence[float | None] | None) -> Predictor:
    """Return a predictor for images of a voxel size."""
    from napari_vstain.core.inference.resampling import SAME_SIZE, factors_of

    known = None if spacing_um is None else tuple(step or 1.0 for step in spacing_um)
    factors = factors_of(predictor.model, known)
    return predictor if factors == SAME_SIZE else predictor.resampled(factors)
