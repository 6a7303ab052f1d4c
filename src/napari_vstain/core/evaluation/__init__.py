"""How good a prediction is: intensity metrics, the trivial baseline, and the table of both.

Importing this loads neither torch nor pandas.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.evaluation.baseline import Baseline, fit_baseline
    from napari_vstain.core.evaluation.columns import METRICS, metric_table
    from napari_vstain.core.evaluation.definitions import Definitions
    from napari_vstain.core.evaluation.families.intensity import image_metrics
    from napari_vstain.core.evaluation.stage import EvaluateResult, EvaluateSettings, run
    from napari_vstain.core.evaluation.summary import Headline, Means, headlines, summarize
    from napari_vstain.core.evaluation.table import COLUMNS, read_table

_LAZY = {
    "COLUMNS": "core.evaluation.table",
    "METRICS": "core.evaluation.columns",
    "Baseline": "core.evaluation.baseline",
    "Definitions": "core.evaluation.definitions",
    "EvaluateResult": "core.evaluation.stage",
    "EvaluateSettings": "core.evaluation.stage",
    "Headline": "core.evaluation.summary",
    "Means": "core.evaluation.summary",
    "fit_baseline": "core.evaluation.baseline",
    "headlines": "core.evaluation.summary",
    "image_metrics": "core.evaluation.families.intensity",
    "metric_table": "core.evaluation.columns",
    "read_table": "core.evaluation.table",
    "run": "core.evaluation.stage",
    "summarize": "core.evaluation.summary",
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
