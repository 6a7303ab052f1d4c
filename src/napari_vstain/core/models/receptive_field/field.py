"""How far a network looks, on which grid, and whether that is all it depends on."""

from dataclasses import dataclass

from napari_vstain.core.arrays import ZYX


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
