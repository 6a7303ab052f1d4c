"""Predict an image that is too large to predict whole, as a dask array: only what is looked at is computed.

python examples/predict_lazily.py [FOLDER]     a quarter of a minute; FOLDER must be new
"""

import sys
from pathlib import Path

import dask.array as da
import numpy as np

import napari_vstain as vstain


def small_model(study: vstain.Workspace, plate: Path) -> Path:
    """Return an ONNX model that learned for a moment; a model of your own takes its place."""
    settings = vstain.TrainSettings.quick(
        "first", str(plate), sources=["Phase"], targets=["Nuclei"],
        epochs=1, patch_px=64, batches_per_epoch=16, features=(8, 16),
    )  # fmt: skip
    vstain.train(settings, study)
    return vstain.export({"experiment": "first"}, study).onnx


def main(folder: Path) -> None:
    study = vstain.Workspace.create(folder)
    plate = vstain.simulate_plate(study.new_dataset("cells"), fields=2, size=256)
    predictor = vstain.load_predictor(small_model(study, plate))

    position = vstain.open_dataset(plate).position("A/1/0")
    phase = position.read(predictor.spec.sources)[:, 0]  # (C, Y, X)
    mosaic = da.tile(da.from_array(phase), (1, 4, 4))  # stands for a slide: a store, a lazy napari layer, …

    stained = vstain.predict_lazy(mosaic, predictor, tile_px=256)  # float32, (C, Y, X); its chunks are the tiles
    corner = stained[:, 100:300, 500:700].compute()  # reads and predicts the tiles below these pixels
    print("A corner of", stained.shape, "was computed:", corner.shape)

    whole = predictor.predict(mosaic.compute())["stain"]
    rms = np.sqrt(np.mean((whole[:, 100:300, 500:700] - corner) ** 2)) / whole.std()
    print(f"It differs from the prediction of the whole by {rms:.0e} standard deviations.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "vstain-example"))
