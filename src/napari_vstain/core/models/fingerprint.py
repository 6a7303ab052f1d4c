"""A model's fingerprint: a digest of what changes a prediction and of nothing else, the same for ever.

Stores and tables of metrics know the model that made them by it, so what a later version adds to a ModelSpec must not
make them another model's. What is looked at is listed. Of that, what version 1 wrote is always there, as it wrote it;
what came later only where it is not the default, since the default is what every model of before means.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_json

from napari_vstain.core.import_paths import FIRST, replaced

CHANGES_A_PREDICTION: Final = {
    "ModelSpec": (
        "weights", "sources", "outputs", "dimensions", "z_window", "stride", "halo", "tile_exact", "border",
        "size_step", "exact_step", "source_normalization", "target_normalization", "target_scale", "statistics",
        "spacing_um", "config",
    ),
    "Head": ("task", "channels", "kind", "scale", "normalization", "activation"),
    "Normalization": ("level", "subtract", "divide"),
    "Statistics": (
        "mean", "std", "median", "iqr", "min", "max", "p1", "p5", "p95", "p99", "p95_p5", "p99_p1", "otsu_threshold",
    ),
}  # fmt: skip
"""Fields by type. Their order is part of the digest: a new one goes to the end, and into `CAME_LATER`."""
CHANGES_NOTHING: Final = {"ModelSpec": ("schema_version", "name", "novelty", "training", "versions")}
CAME_LATER: Final = frozenset({"size_step", "exact_step", "target_scale", "normalization", "activation"})
"""Left out at their defaults."""


def fingerprint_of(spec: BaseModel) -> str:
    """Return the fingerprint of a ModelSpec, 16 hex digits.

    Classes of ours stand in it by the paths that version 1 gave them, wherever they have moved.
    """
    text = to_json(replaced(_listed(spec), FIRST), inf_nan_mode="null")
    return hashlib.sha256(text).hexdigest()[:16]


def _listed(value: Any) -> Any:
    if isinstance(value, BaseModel):
        kind = next(base.__name__ for base in type(value).__mro__ if base.__name__ in CHANGES_A_PREDICTION)
        fields = type(value).model_fields
        known = ((name, getattr(value, name)) for name in CHANGES_A_PREDICTION[kind])
        return {name: _listed(said) for name, said in known if name not in CAME_LATER or said != fields[name].default}
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value
