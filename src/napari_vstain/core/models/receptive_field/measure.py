"""Measure what a network sees: from its layers, else from its graph, else with gradients."""

import copy
from dataclasses import replace

from torch import nn

from napari_vstain.core.models.receptive_field.field import ReceptiveField, UnknownLayer
from napari_vstain.core.models.receptive_field.gradient_probe import probe_gradients, probe_shape
from napari_vstain.core.models.receptive_field.layer_trace import traced_reach
from napari_vstain.core.models.receptive_field.layer_walk import walk_layers
from napari_vstain.core.models.spec import Dimensions


def receptive_field(network: nn.Module, dimensions: Dimensions | str = Dimensions.TWO) -> ReceptiveField:
    """Return how far a network looks: computed from its layers, or else from its graph as it is traced.

    Where neither tells, it is probed with gradients, and never called exact: a probe misses what it does not open.

    Raises
    ------
    ModelError
        When the network can neither be read nor run.
    """
    dimensions = Dimensions(dimensions)
    try:
        return walk_layers(network, dimensions)
    except UnknownLayer:
        seen = probe_gradients(network, dimensions)
    if not seen.tile_exact:
        return seen

    free = 3 if dimensions is Dimensions.THREE else 2
    try:
        reach, across = traced_reach(_at_rest(network), probe_shape(network, dimensions), seen.stride[-free:])
    except UnknownLayer:
        return replace(seen, tile_exact=False)
    radius = tuple(max(*pair) for pair in zip((0,) * (3 - free) + reach, seen.radius, strict=True))
    return ReceptiveField((radius[0], radius[1], radius[2]), seen.stride, not across)


def _at_rest(network: nn.Module) -> nn.Module:
    """Return a copy on the processor, as it predicts."""
    return copy.deepcopy(network).cpu().float().eval()
