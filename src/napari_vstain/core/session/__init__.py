"""A session is what a script or a window holds: workspace, open position, channel choice, model and jobs."""

from napari_vstain.core.session.curves import Curves, Series
from napari_vstain.core.session.last_model import recall_model, remember_model
from napari_vstain.core.session.live_prediction import AccuracyNote, EngineInfo, LivePrediction, PredictionNotes
from napari_vstain.core.session.matching import OpenImage, Role, match_sources
from napari_vstain.core.session.open_models import Model, PredictorCache, chosen_model, model_at, runs_of
from napari_vstain.core.session.opening import Opened, guess_roles, open_path, registered, registered_name
from napari_vstain.core.session.session import Session
from napari_vstain.core.session.session_jobs import JobKind, stop_jobs

__all__ = [
    "AccuracyNote",
    "Curves",
    "EngineInfo",
    "JobKind",
    "LivePrediction",
    "Model",
    "OpenImage",
    "Opened",
    "PredictionNotes",
    "PredictorCache",
    "Role",
    "Series",
    "Session",
    "chosen_model",
    "guess_roles",
    "match_sources",
    "model_at",
    "open_path",
    "recall_model",
    "registered",
    "registered_name",
    "remember_model",
    "runs_of",
    "stop_jobs",
]
