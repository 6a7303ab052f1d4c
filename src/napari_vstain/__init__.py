"""Predict fluorescence from label-free microscopy: train, predict, evaluate and export.

::

    from napari_vstain import Workspace, open_dataset, predict_lazy

These are the public names; what lies below `napari_vstain.core` may move. They are imported when they are first used.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

__version__ = "0.1.0"

_PUBLIC = {
    "Cancelled": "core.progress",
    "Dataset": "core.data",
    "EvaluateResult": "core.evaluation",
    "EvaluateSettings": "core.evaluation",
    "ExportResult": "core.deployment",
    "ExportSettings": "core.deployment",
    "ImportResult": "core.data",
    "ImportSettings": "core.data",
    "Job": "core.jobs",
    "ModelSpec": "core.models",
    "Position": "core.data",
    "PredictResult": "core.inference",
    "PredictSettings": "core.inference",
    "Predictor": "core.inference",
    "PreprocessResult": "core.preprocessing",
    "PreprocessSettings": "core.preprocessing",
    "Progress": "core.progress",
    "Scalars": "core.training",
    "Session": "core.session",
    "TrainResult": "core.training",
    "TrainSettings": "core.training",
    "VstainError": "core.errors",
    "Workspace": "core.workspace",
    "evaluate": "api",
    "export": "api",
    "import_images": "api",
    "load_predictor": "core.inference",
    "open_dataset": "core.data",
    "predict": "api",
    "predict_lazy": "core.inference",
    "preprocess": "api",
    "simulate_plate": "core.simulation",
    "train": "api",
}

if TYPE_CHECKING:
    from napari_vstain.api import evaluate, export, import_images, predict, preprocess, train
    from napari_vstain.core.data import Dataset, ImportResult, ImportSettings, Position, open_dataset
    from napari_vstain.core.deployment import ExportResult, ExportSettings
    from napari_vstain.core.errors import VstainError
    from napari_vstain.core.evaluation import EvaluateResult, EvaluateSettings
    from napari_vstain.core.inference import Predictor, PredictResult, PredictSettings, load_predictor, predict_lazy
    from napari_vstain.core.jobs import Job
    from napari_vstain.core.models import ModelSpec
    from napari_vstain.core.preprocessing import PreprocessResult, PreprocessSettings
    from napari_vstain.core.progress import Cancelled, Progress
    from napari_vstain.core.session import Session
    from napari_vstain.core.simulation import simulate_plate
    from napari_vstain.core.training import Scalars, TrainResult, TrainSettings
    from napari_vstain.core.workspace import Workspace

__all__ = [
    "Cancelled",
    "Dataset",
    "EvaluateResult",
    "EvaluateSettings",
    "ExportResult",
    "ExportSettings",
    "ImportResult",
    "ImportSettings",
    "Job",
    "ModelSpec",
    "Position",
    "PredictResult",
    "PredictSettings",
    "Predictor",
    "PreprocessResult",
    "PreprocessSettings",
    "Progress",
    "Scalars",
    "Session",
    "TrainResult",
    "TrainSettings",
    "VstainError",
    "Workspace",
    "__version__",
    "evaluate",
    "export",
    "import_images",
    "load_predictor",
    "open_dataset",
    "predict",
    "predict_lazy",
    "preprocess",
    "simulate_plate",
    "train",
]


__getattr__ = lazily(__name__, _PUBLIC)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
