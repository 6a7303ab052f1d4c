"""`python -m napari_vstain` is `vstain`."""

import sys

from napari_vstain.cli import main
from napari_vstain.core.processes import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
