"""Networks, heads, and `ModelSpec`: what a model says of itself. Importing this loads no torch."""

from napari_vstain.core.models.spec import (
    Dimensions,
    Head,
    ModelSpec,
    Normalization,
    OutputKind,
    OutputSpec,
    Statistics,
)

__all__ = ["Dimensions", "Head", "ModelSpec", "Normalization", "OutputKind", "OutputSpec", "Statistics"]
