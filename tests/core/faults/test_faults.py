"""A stage that is killed at any change of a file, and run again, gives what it gives undisturbed; nothing is left.

``VSTAIN_FAULTS=50 pytest tests/core/faults`` tries 50 places in each stage instead of three, drawn by ``VSTAIN_SEED``.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

STAGES = ("import", "preprocess", "train", "predict", "evaluate", "export")
TRIES = int(os.environ.get("VSTAIN_FAULTS", "3"))
SEED = int(os.environ.get("VSTAIN_SEED", "0"))
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


class Driver:
    """A warm process that runs stages in forks of itself."""

    def __init__(self):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(Path(__file__).with_name("driver.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    def run(self, stage, root, kill_at=None):
        """Return how it ended: ``signal``, ``error``, and ``changes``, None when it was killed."""
        self.process.stdin.write(json.dumps({"stage": stage, "root": str(root), "kill_at": kill_at}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def driver():
    made = Driver()
    with made.process:
        yield made
        made.process.stdin.close()


@pytest.fixture(scope="module")
def before(driver, tmp_path_factory):
    """Return, by stage, a folder as it is before, what it makes, in how many changes, and what it leaves."""
    folder = tmp_path_factory.mktemp("faults")
    root = folder / "root"
    (root / "files").mkdir(parents=True)
    for index, name in enumerate(("A1_0", "A1_1", "B1_0")):
        source = np.random.default_rng(index).normal(300, 40, (48, 64)).astype(np.uint16)
        for channel, image in (("Phase", source), ("Nuclei", source * 2)):
            tifffile.imwrite(root / "files" / f"{name}_{channel}.tif", image)
    known = {}
    for stage in STAGES:
        shutil.copytree(root, folder / stage)
        said = driver.run(stage, root)
        assert said["error"] is None and said["signal"] == 0, said
        known[stage] = (folder / stage, result_of(stage, root), said["changes"], set(left_in(root)))
    return known


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_killed_and_run_again_gives_the_same_and_leaves_nothing(driver, before, tmp_path, stage):
    start, expected, changes, undisturbed = before[stage]
    places = random.Random(f"{SEED} {stage}").sample(range(changes), min(TRIES, changes))
    for place in places:
        root = tmp_path / str(place)
        shutil.copytree(start, root)
        killed = driver.run(stage, root, place)
        if killed["signal"] != 9:  # threads write now more often, now less: it was whole before it came to that change
            assert killed["error"] is None and place >= killed["changes"], f"{stage}, change {place}: {killed}"
            assert place > 0.9 * changes
        again = driver.run(stage, root)
        if stage == "import" and again["error"]:
            assert "is there already" in again["error"], "only a dataset that is whole is there"
        else:
            assert again["error"] is None, f"{stage}, change {place} of {changes}: {again['error']}"
        assert same(result_of(stage, root), expected), f"{stage}, change {place} of {changes}: another result"
        assert set(left_in(root)) <= undisturbed, f"{stage}, change {place} of {changes}"
        shutil.rmtree(root)


def result_of(stage, root):
    """Return what a stage made, without times and places."""
    study = root / "study"
    if stage in ("import", "preprocess"):
        (store,) = (study / "datasets").glob("*.zarr")
        assert any((study / "datasets").glob("*.sidecar/*import*.yml")) or stage == "preprocess"
        return files_of(store)
    if stage == "train":
        from napari_vstain.core.models.files.checkpoint import load_checkpoint
        from napari_vstain.core.workspace import Workspace

        run = Workspace.open(study).experiment("first").run()
        assert run.config.is_file() and (run.folder / "config.yaml").is_file()
        return {
            f"{path.name} {name}": tensor.numpy()
            for path in (run.best, run.last)
            for name, tensor in load_checkpoint(path)[1].state_dict().items()
        }
    if stage == "predict":
        from napari_vstain.core.data import open_dataset, recorded

        store = open_dataset(study / "evaluation" / "first" / "predictions.zarr")
        assert all(recorded(position, "prediction")["complete"] for position in store.positions.values())
        return {key: np.asarray(position.read(store.channels)) for key, position in store.positions.items()}
    if stage == "evaluate":
        lines = (study / "evaluation" / "first" / "metrics.csv").read_text().splitlines()
        return {"rows": sorted(lines), "readme": (study / "evaluation" / "first" / "metrics.README").read_text()}
    import onnx

    folder = study / "deployment" / "first"
    assert (folder / "model.README").is_file()
    return {"graph": onnx.load(folder / "model.onnx").graph.SerializeToString()}


def files_of(store):
    """Return the content of each file of a store, its place taken out."""
    files = (path for path in store.rglob("*") if path.is_file())
    place = re.compile(rb'"[^"]*/(faults\d+/root|\d+)/')  # where the images were imported from
    found = {str(path.relative_to(store)): place.sub(b'"', path.read_bytes()) for path in files}
    found = {
        name: re.sub(rb'"token": "\w*"', b'"token": ""', content) for name, content in found.items()
    }  # drawn at each import
    return {name: json.loads(content) if name.endswith(".json") else content for name, content in found.items()}


def same(one, other):
    """Return True if two results are equal, bit by bit."""
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key]) if isinstance(one[key], np.ndarray) else one[key] == other[key]
        for key in one
    )


def left_in(root):
    """Return the temporary files and locks that nobody needs any more, and runs that nobody can use."""
    found = [path for path in root.rglob("*") if path.name.endswith((".partial", ".lock"))]
    found += list((root / "tmp").iterdir())
    for run in root.glob("study/models/*/lightning_logs/*"):
        if not any(run.glob("checkpoints/*.ckpt")):
            found.append(run)
    return [str(path.relative_to(root)) for path in found]
