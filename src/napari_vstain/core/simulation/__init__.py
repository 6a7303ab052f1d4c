"""A simulated microscope: cells, their stains, what phase optics make of them, and a plate of such fields."""

from typing import TYPE_CHECKING

from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.simulation.simulated_plate import simulate_plate

__all__ = ["simulate_plate"]

__getattr__ = lazily(__name__, {"simulate_plate": "core.simulation.simulated_plate"})
