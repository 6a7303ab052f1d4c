"""Train in the background, watch the loss, stop early and evaluate what was learned, as the docks do it.

python examples/session_in_the_background.py [FOLDER]     half a minute; FOLDER must be new
"""

import sys
from pathlib import Path

import napari_vstain as vstain

ENOUGH = 2
"""Epochs after which this example has seen enough."""


def main(folder: Path) -> None:
    study = vstain.Workspace.create(folder)
    vstain.simulate_plate(study.new_dataset("cells"), fields=3, size=128)

    session = vstain.Session()
    session.open(study.root)  # the workspace, and its newest dataset
    session.choose_channels(sources=["Phase"], targets=["Nuclei"])

    training = session.train(
        "first", session.split(), epochs=100, patch_px=64, batches_per_epoch=4, features=(8, 16)
    )  # a Job, which is running by now

    def watch(item: vstain.Scalars) -> None:  # called on the job's own thread
        if not item.of_batch:
            print(f"Epoch {item.epoch}: loss {item.values['loss/train_epoch']:.3f}")
            if item.epoch >= ENOUGH:
                training.stop()  # keeps what was learned

    training.produced.connect(watch)
    try:
        trained = training.result()
    except vstain.Cancelled as stopped:
        trained = stopped.kept
    print(f"Stopped after {trained.epochs} epochs: {trained.run.label}")

    evaluation = session.evaluate(trained.run, session.split().test)  # predicts what is not predicted yet
    print(evaluation.result().table[["predictor", "position", "channel", "pearson"]])
    session.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "vstain-example"))
