"""Images on disk: plates, positions and images in OME-Zarr, how they are imported, and a simulated sample.

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
    from napari_vstain.core.data.simulation import simulate_plate

_LAZY = {
    "ImportResult": "importing",
    "ImportSettings": "importing",
    "NewPosition": "plate",
    "PlateWriter": "plate",
    "create_plate": "plate",
    "run_import": "importing",
    "simulate_plate": "simulation",
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
    "simulate_plate",
    "write_pixels",
]

__getattr__ = lazily(__name__, _LAZY)
