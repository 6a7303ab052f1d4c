"""Make the screenshots of the docs: the workbench on the sample plate, with a model trained in it.

python docs/screenshots.py     writes docs/images/*.png; starts Xvfb itself where there is no screen
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from screen import on_a_screen, turn_for

IMAGES = Path(__file__).parent / "images"
EPOCHS = 8


def main() -> None:
    """Train on the sample plate and take a picture at each step."""
    import napari

    from napari_vstain.core.simulation import simulate_plate
    from napari_vstain.core.workspace import Workspace

    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VSTAIN_STATE"] = folder  # no model of yours is preselected in the pictures
        study = Workspace.create(Path(folder) / "study")
        simulate_plate(study.new_dataset("sample"), wells=("A/1", "A/2", "B/1", "B/3"), fields=3, size=512)
        viewer: Any = napari.Viewer()
        viewer.window.resize(1280, 860)
        _, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")
        data, train, predict, evaluate, _ = (step.section for step in dock.steps)
        take(viewer, "empty")
        data.open(study.root)
        turn_until(lambda: len(viewer.layers) == 3 and train.go.isEnabled())
        take(viewer, "data")
        show_only(dock, train)
        train.name.setText("nuclei_and_membranes")
        train.form.set_values({"epochs": EPOCHS})
        train.go.click()
        turn_until(lambda: len(train.plot.series["loss/train_epoch"]) >= EPOCHS // 2)
        take(viewer, "train")
        turn_until(lambda: train.job is None)
        data.session.choose_position(data.session.split().test[0])
        data.show_layers()
        turn_until(lambda: predict.go.isEnabled() and len(viewer.layers) == 3)
        turn_for(1)
        show_only(dock, data, predict)
        predict.go.click()
        turn_until(lambda: predict.job is None)
        take(viewer, "workbench")
        show_only(dock, evaluate)
        evaluate.go.click()
        turn_until(lambda: evaluate.job is None)
        take(viewer, "evaluate")
        dock.context.session.close()
        viewer.close()


def show_only(dock: Any, *sections: Any) -> None:
    """Open some steps of the workbench and close the others."""
    for step in dock.steps:
        step.open(step.section in sections)


def take(viewer: Any, name: str) -> None:
    """Save a picture of the window."""
    turn_for(0.7)
    viewer.window.screenshot(str(IMAGES / f"{name}.png"), canvas_only=False)
    print(IMAGES / f"{name}.png")


def turn_until(condition: Callable[[], bool], patience_s: float = 900) -> None:
    """Turn the event loop until something holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the window did not get there")
        turn_for(0.05)


if __name__ == "__main__":
    on_a_screen()
    main()
