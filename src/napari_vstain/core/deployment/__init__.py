"""A trained model as one ONNX file that predicts anywhere, checked against the original, with its model card.

Importing this loads neither torch nor onnx.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.deployment.settings import ExportSettings
    from napari_vstain.core.deployment.stage import ExportResult, run

_LAZY = {
    "ExportResult": "core.deployment.stage",
    "ExportSettings": "core.deployment.settings",
    "run": "core.deployment.stage",
}

__all__ = ["ExportResult", "ExportSettings", "run"]

__getattr__ = lazily(__name__, _LAZY)
