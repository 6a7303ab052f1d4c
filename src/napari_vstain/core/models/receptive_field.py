"""What a network sees: how far each output pixel looks, on which grid, and whether that is all it depends on."""

from dataclasses import dataclass

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
    """Return how far a network looks: computed from its layers, or else probed with gradients.

    Raises
    ------
    ModelError
        When the network can neither be read nor run.
    """
    from napari_vstain.core.models.layer_walk import walk_layers
    from napari_vstain.core.models.probe import probe

    try:
        return walk_layers(network, Dimensions(dimensions))
    except UnknownLayer:
        return probe(network, Dimensions(dimensions))
