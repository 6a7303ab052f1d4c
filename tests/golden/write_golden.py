"""Write the files that every later version must open: ``python tests/golden/write_golden.py FOLDER``.

A workspace of a simulated plate, one short training, its predictions and its export, without what nobody reads again.
Only public names are used, so that it runs at any version; ``pixels.npz`` holds what the two model files predicted.
"""

import os
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain import TrainSettings, Workspace, export, open_dataset, predict, preprocess, simulate_plate, train

EXPERIMENT, DATASET, TARGETS = "golden", "2026_25_11_cells", ("Nuclei", "Membrane")
SEEN, CHOSEN_BY, UNSEEN = "A/1/0", "A/1/1", "A/1/2"
_UNREAD = ("events.out.tfevents.*", "hparams.yaml", "golden.README", "best.ckpt")
"""After one epoch the best checkpoint is the last one."""


def write(folder: Path) -> None:
    """Make the workspace at `folder`, which must not be there yet."""
    workspace = Workspace.create(folder)
    plate = workspace.new_dataset("cells", on=date(2026, 11, 25))
    simulate_plate(plate, seed=0, wells=("A/1",), fields=3, size=64)
    preprocess({"dataset": DATASET}, workspace)
    training = TrainSettings.quick(
        EXPERIMENT,
        DATASET,
        ("Phase",),
        TARGETS,
        train=(SEEN,),
        validate=(CHOSEN_BY,),
        test=(UNSEEN,),
        epochs=1,
        patch_px=32,
        batch_size=4,
        batches_per_epoch=4,
        features=(4, 8),
        seed=0,
        threads=1,
    )
    train(training, workspace)
    asked = {"dataset": DATASET, "positions": [UNSEEN], "threads": 1, "device": "cpu"}
    predicted = predict({**asked, "experiment": EXPERIMENT, "engine": "torch"}, workspace)
    exported = export({"experiment": EXPERIMENT, "name": "golden"}, workspace)
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / "exported.zarr"
        again = predict({**asked, "model": exported.onnx, "engine": "onnxruntime", "output": store}, workspace)
        pixels = {"checkpoint": _pixels(predicted.store), "onnx": _pixels(again.store)}
    np.savez_compressed(folder / "pixels.npz", **pixels)
    for file in (found for pattern in _UNREAD for found in folder.rglob(pattern)):
        file.unlink()


def _pixels(store: Path) -> npt.NDArray[Any]:
    """Return the predicted channels of the unseen position, float32, (C, Z, Y, X), in the targets' units."""
    return open_dataset(store).position(UNSEEN).read([f"{target}_prediction" for target in TARGETS])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    write(Path(sys.argv[1]))
