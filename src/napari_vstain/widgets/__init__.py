"""Qt and napari: `kit` knows Qt only, `layers` adds layers, `docks` are what people see. No heavy module is loaded here."""
