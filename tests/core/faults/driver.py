"""Runs stages in forks of one warm process, and kills them at their n-th change of a file.

Reads one JSON object a line, ``{"stage": …, "root": …, "kill_at": n or null}``, and answers with one: how the fork
ended and how many changes it made. A change is what Python's audit events tell of: a file opened for writing, renamed,
removed, a folder made or removed, below `root`. The kill comes before it happens.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.utime"}
KEYS = ("A/1/0", "A/1/1", "B/1/0")


def main() -> None:
    """Serve until standard input ends."""
    import torch

    import napari_vstain.core.deployment.stage
    import napari_vstain.core.evaluation.stage
    import napari_vstain.core.inference.stage
    import napari_vstain.core.training.stage  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_forked(asked["stage"], Path(asked["root"]), asked["kill_at"])), flush=True)


def _forked(stage: str, root: Path, kill_at: int | None) -> dict[str, object]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        said = {"error": None, "changes": 0}
        try:
            said["changes"] = _run(stage, root, kill_at)
        except BaseException as error:
            said["error"] = f"{type(error).__name__}: {error}"
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    said = json.loads(text) if text else {"error": None, "changes": None}
    return {**said, "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}


def _run(stage: str, root: Path, kill_at: int | None) -> int:
    for name in ("cache", "state", "tmp"):
        (root / name).mkdir(exist_ok=True)
    os.environ |= {
        "VSTAIN_CACHE": str(root / "cache"),
        "VSTAIN_STATE": str(root / "state"),
        "TMPDIR": str(root / "tmp"),
    }
    tempfile.tempdir = str(root / "tmp")  # or Python writes a file there, to see whether it can
    below, changes = str(root), 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if event == "open":
            flags = arguments[2]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if not writes:
                return
        elif event not in _CHANGES:
            return
        if isinstance(arguments[0], bytes | str | os.PathLike) and os.fsdecode(arguments[0]).startswith(below):
            if changes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            changes += 1

    sys.addaudithook(count)
    STAGES[stage](root)
    return changes


def _workspace(root: Path):
    from napari_vstain.core.workspace import Workspace

    return Workspace.create(root / "study")


def _import(root: Path) -> None:
    from napari_vstain.core.data import ImportSettings, run_import
    from napari_vstain.core.progress import Progress

    settings = ImportSettings(source=root / "files", pattern="{row}{column}_{position}_{channel}.tif", name="cells")
    run_import(settings, _workspace(root), Progress())


def _preprocess(root: Path) -> None:
    from napari_vstain.core.preprocessing import PreprocessSettings, run
    from napari_vstain.core.progress import Progress

    run(PreprocessSettings(dataset="cells"), _workspace(root), Progress())


def _train(root: Path) -> None:
    from napari_vstain.core.progress import Progress
    from napari_vstain.core.training import TrainSettings, run

    small = {"epochs": 2, "patch_px": 16, "batch_size": 2, "batches_per_epoch": 2, "features": [2, 4], "threads": 1}
    split = {"train": KEYS[:1], "validate": KEYS[1:2], "test": KEYS[2:]}
    settings = TrainSettings.quick("first", "cells", ["Phase"], ["Nuclei"], **split, **small)
    run(settings, _workspace(root), Progress())


def _predict(root: Path) -> None:
    from napari_vstain.core.inference import PredictSettings, run
    from napari_vstain.core.progress import Progress

    run(PredictSettings(dataset="cells", experiment="first", engine="torch", threads=1), _workspace(root), Progress())


def _evaluate(root: Path) -> None:
    from napari_vstain.core.evaluation import EvaluateSettings, run
    from napari_vstain.core.progress import Progress

    run(EvaluateSettings(experiment="first"), _workspace(root), Progress())


def _export(root: Path) -> None:
    from napari_vstain.core.deployment.stage import ExportSettings, run
    from napari_vstain.core.progress import Progress

    run(ExportSettings(experiment="first", name="model"), _workspace(root), Progress())


STAGES = {
    "import": _import,
    "preprocess": _preprocess,
    "train": _train,
    "predict": _predict,
    "evaluate": _evaluate,
    "export": _export,
}


if __name__ == "__main__":
    main()
