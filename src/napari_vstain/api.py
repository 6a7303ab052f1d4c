"""Import and the five stages as functions over files: what the verbs of the command line are, for scripts.

The settings are those of the verb, as a value or as a mapping; the result is what the verb writes, by name.

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
    from napari_vstain.core.data import ImportResult, ImportSettings
    from napari_vstain.core.deployment import ExportResult, ExportSettings
    from napari_vstain.core.evaluation import EvaluateResult, EvaluateSettings
    from napari_vstain.core.inference import PredictResult, PredictSettings
    from napari_vstain.core.preprocessing import PreprocessResult, PreprocessSettings
    from napari_vstain.core.training import TrainResult, TrainSettings

S = TypeVar("S", bound=Settings)
R = TypeVar("R")
Values = Mapping[str, Any]
Place = Workspace | Path | str


def import_images(
    settings: "ImportSettings | Values", workspace: Place, progress: Progress | None = None
) -> "ImportResult":
    """Turn image files into a dataset of the workspace; see `ImportSettings`."""
    from napari_vstain.core.data import ImportSettings, run_import

    return _run(run_import, ImportSettings, settings, workspace, progress)


def preprocess(
    settings: "PreprocessSettings | Values", workspace: Place, progress: Progress | None = None
) -> "PreprocessResult":
    """Compute the normalization statistics of a dataset; see `PreprocessSettings`."""
    from napari_vstain.core.preprocessing import PreprocessSettings, run

    return _run(run, PreprocessSettings, settings, workspace, progress)


def train(settings: "TrainSettings | Values", workspace: Place, progress: Progress | None = None) -> "TrainResult":
    """Train a network; see `TrainSettings`."""
    from napari_vstain.core.training import TrainSettings, run

    return _run(run, TrainSettings, settings, workspace, progress)


def predict(
    settings: "PredictSettings | Values", workspace: Place, progress: Progress | None = None
) -> "PredictResult":
    """Predict positions of a dataset into a store; see `PredictSettings`."""
    from napari_vstain.core.inference import PredictSettings, run

    return _run(run, PredictSettings, settings, workspace, progress)


def evaluate(
    settings: "EvaluateSettings | Values", workspace: Place, progress: Progress | None = None
) -> "EvaluateResult":
    """Compare predictions with the real stain; see `EvaluateSettings`."""
    from napari_vstain.core.evaluation import EvaluateSettings, run

    return _run(run, EvaluateSettings, settings, workspace, progress)


def export(settings: "ExportSettings | Values", workspace: Place, progress: Progress | None = None) -> "ExportResult":
    """Write a model as ONNX; see `ExportSettings`."""
    from napari_vstain.core.deployment import ExportSettings, run

    return _run(run, ExportSettings, settings, workspace, progress)


def _run(
    stage: Stage[S, R], settings_type: type[S], settings: S | Values, workspace: Place, progress: Progress | None
) -> R:
    checked = settings_type.parse(settings) if isinstance(settings, Mapping) else settings
    place = workspace if isinstance(workspace, Workspace) else Workspace.open(workspace)
    return stage(checked, place, progress or Progress())
