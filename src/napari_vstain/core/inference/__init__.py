"""Stage 3, prediction: one click, the same however it is tiled, seen as it comes. Importing this loads no framework."""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.inference.cells import Area
    from napari_vstain.core.inference.elsewhere import Elsewhere
    from napari_vstain.core.inference.lazy import predict_lazy
    from napari_vstain.core.inference.loading import model_spec
    from napari_vstain.core.inference.predictor import Predictor, load_predictor
    from napari_vstain.core.inference.settings import PredictSettings
    from napari_vstain.core.inference.sources import ChannelStack
    from napari_vstain.core.inference.stage import PredictResult, run
    from napari_vstain.core.inference.streaming import Stream, TileDone, Unlike, predict_stream

_LAZY = {
    "Area": "cells",
    "ChannelStack": "sources",
    "Elsewhere": "elsewhere",
    "PredictResult": "stage",
    "PredictSettings": "settings",
    "Predictor": "predictor",
    "Stream": "streaming",
    "TileDone": "streaming",
    "Unlike": "streaming",
    "load_predictor": "predictor",
    "model_spec": "loading",
    "predict_lazy": "lazy",
    "predict_stream": "streaming",
    "run": "stage",
}

__all__ = [
    "Area",
    "ChannelStack",
    "Elsewhere",
    "PredictResult",
    "PredictSettings",
    "Predictor",
    "Stream",
    "TileDone",
    "Unlike",
    "load_predictor",
    "model_spec",
    "predict_lazy",
    "predict_stream",
    "run",
]

__getattr__ = lazily(__name__, _LAZY)
