"""Train: name an experiment, start, watch the loss fall, stop when it is good enough."""

from napari_vstain.widgets.docks.train.section import TrainDock, TrainSection

__all__ = ["TrainDock", "TrainSection"]
