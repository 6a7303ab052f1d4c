"""Stage 3, prediction: one click, the same however it is tiled, seen as it comes. Importing this loads no framework."""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.inference.image_source import ChannelStack
    from napari_vstain.core.inference.lazy_prediction import predict_lazy
    from napari_vstain.core.inference.loading import load_predictor
    from napari_vstain.core.inference.predictor import Predictor
    from napari_vstain.core.inference.settings import PredictSettings
    from napari_vstain.core.inference.stage import PredictResult, run
    from napari_vstain.core.inference.streaming import Stream, StreamRequest, TileDone, Unlike, predict_stream
    from napari_vstain.core.models.files.model_notes import ModelNotes
    from napari_vstain.core.tiling.tile_queue import Area

_LAZY = {
    "Area": "core.tiling.tile_queue",
    "ChannelStack": "core.inference.image_source",
    "ModelNotes": "core.models.files.model_notes",
    "PredictResult": "core.inference.stage",
    "PredictSettings": "core.inference.settings",
    "Predictor": "core.inference.predictor",
    "Stream": "core.inference.streaming",
    "StreamRequest": "core.inference.streaming",
    "TileDone": "core.inference.streaming",
    "Unlike": "core.inference.streaming",
    "load_predictor": "core.inference.loading",
    "predict_lazy": "core.inference.lazy_prediction",
    "predict_stream": "core.inference.streaming",
    "run": "core.inference.stage",
}

__all__ = [
    "Area",
    "ChannelStack",
    "ModelNotes",
    "PredictResult",
    "PredictSettings",
    "Predictor",
    "Stream",
    "StreamRequest",
    "TileDone",
    "Unlike",
    "load_predictor",
    "predict_lazy",
    "predict_stream",
    "run",
]

__getattr__ = lazily(__name__, _LAZY)
