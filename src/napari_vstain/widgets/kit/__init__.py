"""Parts of windows that know Qt and nothing else: no napari, no session, no layers."""
