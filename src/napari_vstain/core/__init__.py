"""The backend: everything napari-vstain can do, with no Qt and no napari."""
