"""A family of metrics says which kinds of output it compares, what its columns mean, and scores one image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from napari_vstain.core.arrays import Image, Mask
from napari_vstain.core.evaluation.definitions import Definitions, Metric
from napari_vstain.core.models import OutputKind


class Unit(NamedTuple):
    """What one row of the table is computed on, and its metrics."""

    level: str
    """``slice`` or ``volume``."""
    z: int | None
    """The slice; None for a volume."""
    object_id: int | None
    """None unless the level is ``object``."""
    mask: str
    values: dict[str, float]
    """By metric; NaN where it is not defined."""


@dataclass(frozen=True)
class Context:
    """What a family needs to know besides the two images."""

    masks: Mapping[str, Mask | None]
    """By name, bool, (Z, Y, X); None for every pixel."""
    definitions: Definitions
    threads: int | None = None
    """CPU threads; None for one a core."""


class MetricFamily(Protocol):
    """Metrics that are computed together."""

    @property
    def kinds(self) -> frozenset[OutputKind]:
        """The kinds of output that these metrics compare."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Their columns in the table, in order."""

    @property
    def introduction(self) -> str:
        """What the formulas' letters mean, for metrics.README."""

    def table(self, definitions: Definitions) -> tuple[Metric, ...]:
        """Return what each column means, in the order of `metrics`."""

    def score(self, truth: Image, guess: Image, context: Context) -> Iterator[Unit]:
        """Yield every unit of one channel at one time, both images (Z, Y, X)."""

    def why(self, unit: Unit) -> str:
        """Return why some values of a unit are not defined, as half a sentence."""
