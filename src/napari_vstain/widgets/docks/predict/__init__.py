"""Predict: one button fills the open field with the predicted stain, tile by tile, from what is looked at outward."""

from napari_vstain.widgets.docks.predict.section import PredictDock, PredictSection

__all__ = ["PredictDock", "PredictSection"]
