"""`python -m napari_vstain` is `vstain`."""

import sys

from napari_vstain.cli import main

if __name__ == "__main__":
    sys.exit(main())
