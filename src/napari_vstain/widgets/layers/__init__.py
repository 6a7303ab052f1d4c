"""The only place that adds or updates napari layers, and it touches no layer that we did not add."""
