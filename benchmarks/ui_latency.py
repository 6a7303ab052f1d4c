"""How still the window stands: gaps of a main-thread timer while modules load, a model trains and a prediction runs.

python benchmarks/ui_latency.py [--quick]     prints JSON lines; starts Xvfb itself where there is no screen
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from screen import on_a_screen, turn_for

os.environ.pop("VSTAIN_WARM_UP", None)
STUDY_PX, FIELDS = 512, 3


class Probe:
    """Records the time between the ticks of a 5 ms timer on the main thread."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.gaps_ms: list[float] = []
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record inside."""
        self._last = time.perf_counter()
        self._timer.start()
        yield
        self._timer.stop()

    def percentile(self, share: float) -> float:
        """Return a percentile of the gaps, in milliseconds."""
        import numpy as np

        return float(np.percentile(self.gaps_ms, share))

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append(1000 * (now - self._last))
        self._last = now


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter, on a smaller image")
    options = parser.parse_args()
    seconds, size = (12, 1024) if options.quick else (30, 2048)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VSTAIN_STATE"] = folder  # the user's last model stays the user's
        study, model = make_study(Path(folder))
        measure(study, model, seconds, size)


def measure(study: Path, model: Path, seconds: float, size: int) -> None:
    """Open a window, and print what is measured in it."""
    import napari

    from _networks import cells
    from _report import report, report_machine
    from napari_vstain.core.session import model_at
    from napari_vstain.widgets.compat import main_window

    report_machine(os.cpu_count() or 1)
    viewer: Any = napari.Viewer()
    viewer.window.resize(1300, 900)
    _, dock = viewer.window.add_plugin_dock_widget("napari-vstain", "Workbench")
    data, train, predict, *_ = (step.section for step in dock.steps)
    context = dock.context
    turn_until(lambda: context.warm_up.done, 300)
    report("warmup_gap_max_ms", context.warm_up.gap_max_ms, "ms", f"worst: {context.warm_up.worst}")

    idle = Probe()
    with idle.recording():
        turn_for(seconds / 4)
    report("ui_gap_idle_p99_ms", idle.percentile(99), "ms", "nothing runs: what this machine can do")

    data.open(study)
    turn_until(lambda: train.go.isEnabled(), 60)
    context.session.choose_model(model_at(model))
    train.form.set_values({"epochs": 10_000})
    train.go.click()
    turn_until(lambda: len(train.plot.series["loss/train_step"]) > 3, 300)

    image = cells(size)[0]
    main_window(dock).setUpdatesEnabled(False)
    still = while_it_works(context, image, seconds)
    main_window(dock).setUpdatesEnabled(True)
    shown = while_it_works(context, image, seconds)
    label = f"{size}² px, {seconds:g} s, a fit and a prediction"
    report("ui_gap_p99_ms", still.percentile(99), "ms", f"{label}, nothing repainted")
    report("ui_gap_max_ms", max(still.gaps_ms), "ms", f"{label}, nothing repainted")
    report("ui_gap_shown_p99_ms", shown.percentile(99), "ms", f"{label}, progress and losses shown")
    report("ui_gap_shown_max_ms", max(shown.gaps_ms), "ms", f"{label}, progress and losses shown")
    train.job.stop()
    turn_until(lambda: not context.session.announced, 60)

    streamed, plain, slots = compare_streaming(viewer, context, predict, image, rounds=3)
    ratio = streamed.percentile(99) / plain.percentile(99)
    report("stream_gap_p99_ms", streamed.percentile(99), "ms", f"{size}² px")
    report("stream_gap_p99_vs_plain_ratio", ratio, "ratio", f"{size}² px", peer="napari refreshing the layer", n=3)
    report("slot_max_ms", slots, "ms", f"{size}² px")
    context.session.close()
    viewer.close()


def while_it_works(context: Any, image: Any, seconds: float) -> Probe:
    """Return the gaps while predictions run that no layer shows."""
    probe = Probe()
    live = unseen(context, image)
    turn_until(lambda: live.job.status.done > 0, 120)
    with probe.recording():
        for _ in range(int(seconds)):
            turn_for(1)
            if not live.job.running:
                live = unseen(context, image)
    live.job.stop()
    turn_until(lambda: not live.job.running, 60)
    return probe


def compare_streaming(viewer: Any, context: Any, predict: Any, image: Any, rounds: int) -> tuple[Probe, Probe, float]:
    """Return the gaps while the dock streams a prediction, and while napari alone refreshes as often, in turn."""
    from qtpy.QtCore import QTimer

    for layer in list(viewer.layers):
        viewer.layers.remove(layer)
    viewer.add_image(image, name="Phase")
    predict.start("field")  # the first one makes the layer
    turn_until(lambda: predict.job is None, 300)
    turn_for(1)
    (layer,) = (layer for layer, _ in context.registry.shown(viewer, "prediction"))
    streamed, plain, slots = Probe(), Probe(), 0.0
    for _ in range(rounds):
        context.pump.slowest_s = 0.0
        refreshes = Counter(layer)
        began = time.perf_counter()
        with streamed.recording():
            predict.start("field")
            turn_until(lambda: predict.job is None, 300)
        interval_s = (time.perf_counter() - began) / max(refreshes.stop(), 1)
        repainters = context.predictions.of(layer_source(viewer)).repainters
        slots = max(slots, context.pump.slowest_s, *(repainter.slot_s for repainter in repainters))
        live = unseen(context, image)
        timer = QTimer()
        timer.timeout.connect(lambda: layer.refresh(extent=False, thumbnail=False, highlight=False))
        timer.start(int(1000 * interval_s))
        with plain.recording():
            turn_until(lambda live=live: not live.job.running, 300)
        timer.stop()
    return streamed, plain, 1000 * slots


class Counter:
    """Counts how often a layer is redrawn."""

    def __init__(self, layer: Any) -> None:
        self._events, self._count = layer.events.set_data, 0
        self._events.connect(self._add)

    def stop(self) -> int:
        """Return the count."""
        self._events.disconnect(self._add)
        return self._count

    def _add(self, event: object) -> None:
        self._count += 1


def layer_source(viewer: Any) -> Any:
    """Return the image that is predicted from."""
    return viewer.layers["Phase"]


def unseen(context: Any, image: Any) -> Any:
    """Start a prediction that no layer shows."""
    import numpy as np

    from napari_vstain.core.inference.image_source import ChannelStack
    from napari_vstain.core.inference.streaming import StreamRequest

    outputs = {"stain": np.zeros((1, 1, 1, *image.shape), np.float32)}
    return context.session.stream(StreamRequest(ChannelStack([image], "YX"), outputs=outputs))


def turn_until(condition: Callable[[], bool], patience_s: float) -> None:
    """Turn the event loop until something holds."""
    from qtpy.QtCore import QEventLoop
    from qtpy.QtWidgets import QApplication

    deadline = time.perf_counter() + patience_s
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError("the window did not get there")
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
        time.sleep(0.001)


def make_study(folder: Path) -> tuple[Path, Path]:
    """Return a workspace with a plate, and a checkpoint, made in another process so that nothing is loaded here."""
    import subprocess

    script = (
        "import sys; from pathlib import Path; from _networks import fitted_model;"
        "from napari_vstain.core.simulation import simulate_plate; from napari_vstain.core.workspace import Workspace;"
        "folder = Path(sys.argv[1]); study = Workspace.create(folder / 'study');"
        f"simulate_plate(study.new_dataset('cells'), fields={FIELDS}, size={STUDY_PX});"
        "print(fitted_model('default', folder).checkpoint)"
    )
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=here, check=True, stdout=subprocess.PIPE, text=True
    )
    return folder / "study", Path(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    on_a_screen()
    main()
