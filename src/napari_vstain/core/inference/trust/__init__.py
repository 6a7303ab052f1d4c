"""Say when an input looks unlike the training data: its spatial spectrum, its intensities, or its voxel size.

A model has no opinion on images of another kind: it predicts something all the same. So each model keeps, for every
source, how small patches of its training positions look, and from how far a position that was held out may look
different. `calibrate` measures that once, at the end of a training; `check_input` compares, in a few milliseconds.
"""

from napari_vstain.core.inference.trust.check import (
    FALSE_ALARM,
    Novelty,
    calibrate,
    check_calibration,
    check_input,
    novelty,
)
from napari_vstain.core.inference.trust.looks import PositionImage

__all__ = ["FALSE_ALARM", "Novelty", "PositionImage", "calibrate", "check_calibration", "check_input", "novelty"]
