"""What a model keeps of how its training images look, so that an input which looks otherwise can be told.

`core.novelty` measures it before a training's first batch, and compares inputs with it.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, FiniteFloat, model_validator

from napari_vstain.core.settings import Settings

CALIBRATION_VERSION: Final = 3
"""Of the features and of how their distances are counted."""
COMPARABLE: Final = (2, CALIBRATION_VERSION)
"""Versions that images can be compared with; of 2 without polarity, which meant something else."""

_Row = tuple[FiniteFloat, ...]


class ChannelCalibration(Settings):
    """The features of one source channel over the training's positions, and how far from them like ones may lie."""

    features: tuple[_Row, _Row, _Row, _Row]
    """Mean and variance of each feature, over whole positions and then over single patches."""
    patches: int = Field(ge=0)
    """Of a typical position."""
    limits: dict[str, tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]]
    """By group of features: mean of log distances and their end, of whole positions and of their furthest patches."""
    positions: int = Field(0, ge=0)
    """How many were looked at."""
    std: FiniteFloat = Field(gt=0)
    """Of the median position, in the channel's units."""
    gain: FiniteFloat = Field(ge=0)
    """How much the positions' contrast varies among them, from least to most, as a natural logarithm."""


class Calibration(Settings):
    """Of each source channel; of no channel in a model that cannot say whether an input is like its training images."""

    version: int = Field(0, strict=True)
    """`CALIBRATION_VERSION` when it was measured; 0 when it was not."""
    channels: dict[str, ChannelCalibration] = Field({})

    @model_validator(mode="before")
    @classmethod
    def _comparable(cls, values: Any) -> Any:
        """Keep only the version of what another one measured: it has another form, and cannot be compared with."""
        if isinstance(values, Mapping) and values.get("version", 0) not in COMPARABLE:
            return {"version": values.get("version", 0)}
        return values
