"""Data: open a workspace or an OME-Zarr, go from position to position, say what is predicted from what."""

from napari_vstain.widgets.docks.data.section import DataDock, DataSection

__all__ = ["DataDock", "DataSection"]
