"""The five stages for scripts: the same functions and settings as the verbs of the command line.

::

    import napari_vstain as vstain

    study = vstain.Workspace.open("my-study")
    vstain.preprocess({"dataset": "cells"}, study)
    vstain.predict({"dataset": "cells", "experiment": "first"}, study)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.stages import Stage
from napari_vstain.core.workspace import Workspace

if TYPE_CHECKING:
    from napari_vstain.core.deployment import ExportResult, ExportSettings
    from napari_vstain.core.evaluation import EvaluateResult, EvaluateSettings
    from napari_vstain.core.inference import PredictResult, PredictSettings
    from napari_vstain.core.preprocessing import PreprocessResult, PreprocessSettings
    from napari_vstain.core.training import TrainResult, TrainSettings

S = TypeVar("S", bound=Settings)
R = TypeVar("R")
Values = Mapping[str, Any]
Place = Workspace | Path | str


def preprocess(
    settings: "PreprocessSettings | Values", workspace: Place, progress: Progress | None = None
) -> "PreprocessResult":
    """Compute the normalization statistics of a dataset; see `core.preprocessing`."""
    from napari_vstain.core.preprocessing import PreprocessSettings, run

    return _run(run, PreprocessSettings, settings, workspace, progress)


def train(settings: "TrainSettings | Values", workspace: Place, progress: Progress | None = None) -> "TrainResult":
    """Train a network; see `core.training`."""
    from napari_vstain.core.training import TrainSettings, run

    return _run(run, TrainSettings, settings, workspace, progress)


def predict(
    settings: "PredictSettings | Values", workspace: Place, progress: Progress | None = None
) -> "PredictResult":
    """Predict positions of a dataset into a store; see `core.inference`."""
    from napari_vstain.core.inference import PredictSettings, run

    return _run(run, PredictSettings, settings, workspace, progress)


def evaluate(
    settings: "EvaluateSettings | Values", workspace: Place, progress: Progress | None = None
) -> "EvaluateResult":
    """Compare predictions with the real stain; see `core.evaluation`."""
    from napari_vstain.core.evaluation import EvaluateSettings, run

    return _run(run, EvaluateSettings, settings, workspace, progress)


def export(settings: "ExportSettings | Values", workspace: Place, progress: Progress | None = None) -> "ExportResult":
    """Write a model as ONNX; see `core.deployment`."""
    from napari_vstain.core.deployment import ExportSettings, run

    return _run(run, ExportSettings, settings, workspace, progress)


def _run(stage: Stage[S, R], model: type[S], settings: S | Values, workspace: Place, progress: Progress | None) -> R:
    checked = model.parse(settings) if isinstance(settings, Mapping) else settings
    place = workspace if isinstance(workspace, Workspace) else Workspace.open(workspace)
    return stage(checked, place, progress or Progress())
