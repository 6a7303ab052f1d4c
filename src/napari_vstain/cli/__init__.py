"""The `vstain` command: whatever a dock does has a verb here, each a thin call into core."""

from napari_vstain.cli.program import main

__all__ = ["main"]
