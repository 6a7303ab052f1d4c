"""Qt and napari: one dock a file. Importing a dock loads none of the heavy modules of the backend."""
