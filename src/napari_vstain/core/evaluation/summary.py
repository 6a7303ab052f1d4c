"""Means of a table of metrics that do not flatter: by part of the split, the test first, beside the baseline.

Positions that a model learned from, was chosen by and never saw are three different questions: no mean is over more
than one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_vstain.core.evaluation.columns import METRICS
from napari_vstain.core.models.split import PARTS

if TYPE_CHECKING:
    import pandas as pd

_JUDGES = ("test", "", "validate", "train")
"""Parts by what their scores are worth."""
_GROUPS = ["dataset", "split", "channel", "mask", "predictor"]


@dataclass(frozen=True)
class Means:
    """Means of whole volumes (of slices, where there are none) over the positions of one part of a split."""

    dataset: str
    part: str
    """``test``, ``validate`` or ``train``; empty for positions that played no part in the training."""
    channel: str
    mask: str
    predictor: str
    """``model`` or ``baseline``."""
    positions: int
    metrics: Mapping[str, float]
    """By name; NaN where it is defined for no position."""

    @property
    def of(self) -> str:
        """What the means are over, for people: ``3 test positions``."""
        return f"{self.positions} {part_name(self.part)} position{'s' if self.positions != 1 else ''}"


@dataclass(frozen=True)
class Headline:
    """One channel's Pearson correlation on the best judge that there is, beside the baseline's."""

    means: Means
    baseline: float | None
    """None when no baseline was computed."""

    @property
    def below_baseline(self) -> bool:
        """True if filters and least squares do as well: the model has learnt nothing."""
        return self.baseline is not None and self.means.metrics["pearson"] <= self.baseline

    @property
    def unseen(self) -> bool:
        """True if the model neither learned from these positions nor was chosen by them."""
        return self.means.part in ("test", "")

    def __str__(self) -> str:
        beside = "" if self.baseline is None else f", baseline {_figure(self.baseline)}"
        reached = _figure(self.means.metrics["pearson"])
        text = f"{self.means.channel}: Pearson {reached}{beside}, over {self.means.of}"
        if not self.unseen:
            text += ", which say nothing of unseen images"
        return text + ("; below the baseline" if self.below_baseline else "")


def summarize(table: "pd.DataFrame") -> list[Means]:
    """Return the means of a table as `to_table` makes it: the test first, then validation, training, and the rest.

    Parameters
    ----------
    table : DataFrame
        One row a unit. Every position weighs alike, however many time points it has.
    """
    if table.empty:
        return []
    whole = table[table["level"] == "volume"] if (table["level"] == "volume").any() else table
    names = [name for name in METRICS if name in whole]
    by_position = whole.groupby([*_GROUPS, "position"], sort=False)[names].mean()
    groups = by_position.groupby(level=_GROUPS, sort=False)
    means, counts = groups.mean(), groups.size()
    found = [
        Means(dataset, part, channel, mask, predictor, positions, values)
        for (dataset, part, channel, mask, predictor), positions, values in zip(
            means.index, counts.tolist(), means.to_dict("records"), strict=True
        )
    ]
    return sorted(found, key=lambda one: list(PARTS).index(one.part) if one.part in PARTS else len(PARTS))


def headlines(table: "pd.DataFrame") -> list[Headline]:
    """Return one headline a dataset and channel: over its test positions, else over the best that there is."""
    made: dict[tuple[str, str], Headline] = {}
    means = [one for one in summarize(table) if one.mask == "whole"] or summarize(table)
    baselines = {
        (one.dataset, one.part, one.channel, one.mask): one.metrics["pearson"]
        for one in means
        if one.predictor == "baseline"
    }
    for one in sorted(means, key=lambda one: _JUDGES.index(one.part)):
        if one.predictor == "model":
            beside = baselines.get((one.dataset, one.part, one.channel, one.mask))
            made.setdefault((one.dataset, one.channel), Headline(one, beside))
    return list(made.values())


def part_name(part: str) -> str:
    """Return what a part of a split is called for people; positions of none are ``other`` ones."""
    return PARTS[part] if part else "other"


def _figure(value: float) -> str:
    return "not defined" if value != value else f"{value:.3f}"
