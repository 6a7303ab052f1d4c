"""From image files to scores and an ONNX model: import, preprocess, train, predict, evaluate, export.

python examples/from_files_to_scores.py [FOLDER]     half a minute; FOLDER must be new

The images are simulated, and the network is far too small: put a folder of your own in the place of `write_images`.
"""

import sys
from pathlib import Path

import tifffile

import napari_vstain as vstain


def write_images(folder: Path) -> None:
    """Write fields of simulated cells as TIFF files, A1_field0_Phase.tif and so on."""
    plate = vstain.open_dataset(vstain.simulate_plate(folder / "simulated.zarr", fields=3, size=128))
    for key, position in plate.positions.items():
        row, column, field = key.split("/")
        for channel in ("Phase", "Nuclei"):
            plane = position.read([channel])[0, 0]  # of (C, Z, Y, X)
            tifffile.imwrite(folder / f"{row}{column}_field{field}_{channel}.tif", plane)


def main(folder: Path) -> None:
    images = folder / "images"
    images.mkdir(parents=True)
    write_images(images)

    study = vstain.Workspace.create(folder / "study")
    imported = vstain.import_images(
        {"source": images, "name": "cells", "pattern": "{position}_{channel}.tif", "spacing_um": (1, 0.325, 0.325)},
        study,
    )
    print("Imported", ", ".join(imported.positions))

    vstain.preprocess({"dataset": "cells"}, study)
    settings = vstain.TrainSettings.quick(
        "first", "cells", sources=["Phase"], targets=["Nuclei"],
        epochs=2, patch_px=64, batches_per_epoch=8, features=(8, 16),
    )  # fmt: skip
    trained = vstain.train(settings, study)
    print(f"Trained {trained.run.label}, best loss {trained.best_loss:.3f}")

    run = {"dataset": "cells", "experiment": "first"}
    vstain.predict(run, study)
    scores = vstain.evaluate(run, study).table
    print(scores.groupby(["split", "predictor"])[["pearson", "ssim"]].mean())
    print("Exported", vstain.export({"experiment": "first"}, study).onnx)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "vstain-example"))
