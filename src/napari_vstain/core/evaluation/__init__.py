"""How good a prediction is: intensity metrics, the trivial baseline, and the table of both.

Importing this loads neither torch nor pandas.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.evaluation.baseline import Baseline, fit_baseline
    from napari_vstain.core.evaluation.definitions import METRICS, Definitions, metric_table
    from napari_vstain.core.evaluation.intensity import image_metrics
    from napari_vstain.core.evaluation.stage import EvaluateResult, EvaluateSettings, run
    from napari_vstain.core.evaluation.summary import Headline, Means, headlines, summarize
    from napari_vstain.core.evaluation.table import COLUMNS, read_table

_LAZY = {
    "COLUMNS": "table",
    "METRICS": "definitions",
    "Baseline": "baseline",
    "Definitions": "definitions",
    "EvaluateResult": "stage",
    "EvaluateSettings": "stage",
    "Headline": "summary",
    "Means": "summary",
    "fit_baseline": "baseline",
    "headlines": "summary",
    "image_metrics": "intensity",
    "metric_table": "definitions",
    "read_table": "table",
    "run": "stage",
    "summarize": "summary",
}

__all__ = [
    "COLUMNS",
    "METRICS",
    "Baseline",
    "Definitions",
    "EvaluateResult",
    "EvaluateSettings",
    "Headline",
    "Means",
    "fit_baseline",
    "headlines",
    "image_metrics",
    "metric_table",
    "read_table",
    "run",
    "summarize",
]

__getattr__ = lazily(__name__, _LAZY)
