"""What a network sees: how far each output pixel looks, on which grid, and whether that is all it depends on."""

import copy
from dataclasses import dataclass, replace

from torch import nn

from napari_vstain.core.models.spec import ZYX, Dimensions


@dataclass(frozen=True)
class ReceptiveField:
    """How far a network looks; lengths are (Z, Y, X), in pixels of the input.

    In 2D and 2.5D, Z is radius 0 and stride 1: a slice, or a window of slices, is taken whole.
    """

    radius: ZYX
    """One-sided: if the network is tile-exact, an output pixel depends on no input pixel further away."""
    stride: ZYX
    """Total stride: the network commutes with shifts by multiples of it, and takes sizes that are."""
    tile_exact: bool
    """False when the network looks across the whole image, so that no radius is exact; it is then an estimate."""

    @property
    def halo(self) -> ZYX:
        """The radius rounded up to the stride, as a `ModelSpec` wants it."""
        z, y, x = (-(-r // s) * s for r, s in zip(self.radius, self.stride, strict=True))
        return z, y, x


class UnknownLayer(Exception):
    """A network whose layers do not tell how far it looks: it has to be probed."""


def receptive_field(network: nn.Module, dimensions: Dimensions | str = Dimensions.TWO) -> ReceptiveField:
    """Return how far a network looks: computed from its layers, or else from its graph as it is traced.

    Where neither tells, it is probed with gradients, and never called exact: a probe misses what it does not open.

    Raises
    ------
    ModelError
        When the network can neither be read nor run.
    """
    from napari_vstain.core.models.layer_walk import walk_layers
    from napari_vstain.core.models.probe import probe, sample_shape

    dimensions = Dimensions(dimensions)
    try:
        return walk_layers(network, dimensions)
    except UnknownLayer:
        seen = probe(network, dimensions)
    if not seen.tile_exact:
        return seen
    from napari_vstain.core.models.layer_trace import traced_reach

    free = 3 if dimensions is Dimensions.THREE else 2
    try:
        reach, across = traced_reach(_at_rest(network), sample_shape(network, dimensions), seen.stride[-free:])
    except UnknownLayer:
        return replace(seen, tile_exact=False)
    radius = tuple(max(*pair) for pair in zip((0,) * (3 - free) + reach, seen.radius, strict=True))
    return ReceptiveField((radius[0], radius[1], radius[2]), seen.stride, not across)


def _at_rest(network: nn.Module) -> nn.Module:
    """Return a copy on the processor, as it predicts."""
    return copy.deepcopy(network).cpu().float().eval()
