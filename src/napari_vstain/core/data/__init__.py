"""Images on disk: plates, positions and images in OME-Zarr, and how they are imported.

Importing this loads neither zarr nor dask.
"""

from typing import TYPE_CHECKING

from napari_vstain.core.data.attributes import change_record, record, recorded
from napari_vstain.core.data.dataset import Dataset, DatasetKind, open_dataset
from napari_vstain.core.data.pixels import write_pixels
from napari_vstain.core.data.position import Position
from napari_vstain.core.lazy import lazily

if TYPE_CHECKING:
    from napari_vstain.core.data.importing import ImportResult, ImportSettings, run_import
    from napari_vstain.core.data.plate import NewPosition, PlateWriter, create_plate

_LAZY = {
    "ImportResult": "core.data.importing",
    "ImportSettings": "core.data.importing",
    "NewPosition": "core.data.plate",
    "PlateWriter": "core.data.plate",
    "create_plate": "core.data.plate",
    "run_import": "core.data.importing",
}

__all__ = [
    "Dataset",
    "DatasetKind",
    "ImportResult",
    "ImportSettings",
    "NewPosition",
    "PlateWriter",
    "Position",
    "change_record",
    "create_plate",
    "open_dataset",
    "record",
    "recorded",
    "run_import",
    "write_pixels",
]

__getattr__ = lazily(__name__, _LAZY)
