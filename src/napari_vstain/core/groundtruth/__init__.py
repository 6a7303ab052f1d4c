"""What people said is true of a dataset: labels they drew, and verdicts on whole positions."""

from napari_vstain.core.groundtruth.truth import UNREVIEWED, GroundTruth

__all__ = ["UNREVIEWED", "GroundTruth"]
