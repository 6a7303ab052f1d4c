"""Qt and napari: `kit` knows Qt only, `layers` adds layers, `docks` is what people see. Loads no heavy module."""
