"""A stage in a process of its own: it starts from its settings, and its result comes back by field name."""

import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from napari_vstain.core import wire
from napari_vstain.core.errors import VstainError
from napari_vstain.core.jobs import Job
from napari_vstain.core.processes import GRACE_S, STOPPED, ChildOutput, end_with_parent, python_command, run_child
from napari_vstain.core.progress import Cancelled, Progress, Report
from napari_vstain.core.sentences import as_sentence
from napari_vstain.core.settings import Settings
from napari_vstain.core.wire import WireRecord
from napari_vstain.core.workspace import Workspace

STAGES: Mapping[str, tuple[str, str, str]] = {
    "import": ("data.importing", "ImportSettings", "run_import"),
    "preprocess": ("preprocessing", "PreprocessSettings", "run"),
    "train": ("training", "TrainSettings", "run"),
    "predict": ("inference", "PredictSettings", "run"),
    "evaluate": ("evaluation", "EvaluateSettings", "run"),
    "export": ("deployment", "ExportSettings", "run"),
}
"""Where each stage is: its room in the core, its settings and its function."""
_POLL_S = 0.1
FAILED = 1


def run_in_child(
    stage: str,
    settings: Settings,
    workspace: Workspace,
    progress: Progress,
    *,
    products: Mapping[str, type[Any]] | None = None,
    grace_s: float | None = None,
) -> WireRecord:
    """Run a stage in a process of its own; return its result by field name.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    products : mapping of name to class, optional
        What `progress.produce` gets for an item of a class of that name; others arrive as `WireRecord`.
    grace_s : float, optional
        Stop asks the child to end at once, and kills it after this long, in seconds; by default `GRACE_S`, else 1 s.

    Raises
    ------
    Cancelled
        When it was stopped; `Cancelled.kept` is the record of what the stage had kept.
    VstainError
        What the child raised: same class, same parts. Its standard error is a note on it, which a traceback shows.
    """
    with TemporaryDirectory() as folder:
        config = Path(folder) / f"{stage}_config.yml"
        settings.save(config)
        output = ChildOutput(progress, products or {})
        grace = GRACE_S.get(stage, 1.0) if grace_s is None else grace_s
        run_child(stage_command(stage, config, workspace), f"vstain {stage}", output, grace)
    if output.result is None:
        raise VstainError(f"vstain {stage}", None, "ended without a result", "run the same settings in a terminal")
    return output.result


def stage_command(stage: str, config: Path, workspace: Workspace) -> list[str]:
    """Return the command that runs a stage and says how it goes in lines that `wire` reads."""
    return python_command("-m", "napari_vstain.core.child", stage, str(config), str(workspace.root))


def main(stage: str, config: str, workspace: str) -> int:
    """Run a stage from its settings file; return the exit code.

    The stage has a thread of its own, so that a signal is heard in the middle of a batch.
    """
    end_with_parent()
    say, job = _Printed(), Job(lambda progress: _run(stage, config, workspace, progress, say), stage)

    def stop(number: int, frame: FrameType | None) -> None:
        job.stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    job.start()
    while not job.wait(_POLL_S):
        pass
    try:
        say.returned(job.result())
    except Cancelled as cancelled:
        say.returned(cancelled.kept)
        return STOPPED
    except Exception as error:  # the process's edge: the parent raises it again
        traceback.print_exc()
        say.event(as_sentence(error))
        return FAILED
    return 0


def _run(stage: str, config: str, workspace: str, progress: Progress, said: "_Printed") -> object:
    room, settings, function = STAGES[stage]
    module = import_module(f"napari_vstain.core.{room}")
    values = getattr(module, settings).load(config)
    return getattr(module, function)(values, Workspace.open(workspace), Progress(progress.token, said))


class _Printed:
    """A sink that prints lines for the parent; whole ones, whichever thread speaks."""

    def __init__(self) -> None:
        self._out, self._lock = sys.stdout, threading.Lock()

    def reported(self, report: Report) -> None:
        self.event(report)

    def produced(self, item: object) -> None:
        if (record := WireRecord.of(item)) is not None:
            self.event(wire.Produced(record))

    def returned(self, result: object) -> None:
        """Say what the stage returned; nothing when there is nothing."""
        if (record := WireRecord.of(result)) is not None:
            self.event(wire.Returned(record))

    def event(self, event: wire.Event) -> None:
        """Print one event."""
        with self._lock:
            self._out.write(wire.encode(event) + "\n")
            self._out.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
