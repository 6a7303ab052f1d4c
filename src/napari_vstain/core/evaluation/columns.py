"""The columns of metrics.csv are the metrics of all families, and metrics.README says what each means."""

from napari_vstain.core.evaluation.definitions import Definitions, Metric
from napari_vstain.core.evaluation.families.family import MetricFamily
from napari_vstain.core.evaluation.families.intensity import Intensity
from napari_vstain.core.models import OutputKind

FAMILIES: tuple[MetricFamily, ...] = (Intensity(),)
METRICS = tuple(name for family in FAMILIES for name in family.metrics)
"""The columns, in order."""


def family_of(kind: OutputKind) -> MetricFamily | None:
    """Return the metrics that compare one kind of output; None when there are none."""
    return next((family for family in FAMILIES if kind in family.kinds), None)


def metric_table(definitions: Definitions) -> tuple[Metric, ...]:
    """Return what each column of the table means, in the order of `METRICS`."""
    return tuple(metric for family in FAMILIES for metric in family.table(definitions))


def describe_columns(definitions: Definitions) -> str:
    """Return the text of metrics.README for these definitions."""
    parts = ["What the columns of metrics.csv mean"]
    for family in FAMILIES:
        parts += [family.introduction, *map(_block, family.table(definitions))]
    return "\n\n".join([*parts, _COLUMNS]) + "\n"


def _block(metric: Metric) -> str:
    return (
        f"{metric.key}\n  formula    {metric.formula}\n  range      {metric.values}\n  unit       {metric.unit}\n"
        f"  better     {metric.better}\n  reference  {metric.reference}"
    )


OTHER_COLUMNS = "The other columns"
"""Begins what metrics.README says of the columns that are no metrics."""
_COLUMNS = f"""\
{OTHER_COLUMNS}
  experiment, run, model   where the prediction comes from; model is the fingerprint of the network and its weights
  predictor                model, or baseline: least squares on the training positions from the sources and their
                           local standard deviations (Gaussian, sigma 2, 4, 8 px), applied unchanged; sources and
                           targets are normalized by position where the model's are. A model that
                           does not beat it has learnt nothing that filters do not know
  dataset                  what was predicted and compared with
  position, t, z           one field of view of it, time point, slice; z is empty for a volume
  split                    whether the position was used to train, validate or test; empty when it was none of these
  verdict                  what a person said of the position's ground truth: unreviewed, accepted, needs work, rejected
  channel                  the target channel
  level                    slice or volume: what one row is computed on
  object_id                empty unless level is object
  mask                     whole; foreground, the pixels of the target above its Otsu threshold in the volume
  prediction               which prediction it is: a digest of model, options, and the pixels and numbers that it was
                           made from, as its store notes them
  target                   which pixels it was compared with: a digest of their bytes, the same wherever they lie;
                           empty, as `prediction` is, where it was not noted"""
