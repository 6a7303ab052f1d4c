"""Say when an input looks unlike the training data: its structures, its intensities, or its voxel size.

A model has no opinion on images of another kind: it predicts something all the same. So each model keeps, for every
source, what its training positions are like, and from how far a position that was held out may differ. `calibrate`
measures that once, at the end of a training; `check_times` compares, at every time point and in every block.
"""

from napari_vstain.core.novelty.check import (
    FALSE_ALARM,
    Novelty,
    calibrate,
    cannot_judge,
    check_calibration,
    check_input,
    check_times,
    novelty,
)
from napari_vstain.core.novelty.features import PositionImage

__all__ = [
    "FALSE_ALARM",
    "Novelty",
    "PositionImage",
    "calibrate",
    "cannot_judge",
    "check_calibration",
    "check_input",
    "check_times",
    "novelty",
]
