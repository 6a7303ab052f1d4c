"""Progress is shown in the way that was asked for, and Ctrl-C stops the work cleanly."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.cli.running import run_shown
from napari_vstain.cli.terminal import display, duration, figures
from napari_vstain.core.jobs import JobStatus
from napari_vstain.core.progress import Cancelled, Progress

STUBBORN = """
import sys, time
from napari_vstain.cli.running import run_shown
from napari_vstain.cli.terminal import display

def work(progress):
    progress.phase("sleeping")
    print("ready", flush=True)
    time.sleep(60)

run_shown(work, "stubborn", display("lines"))
"""


@dataclass(frozen=True)
class Loss:
    step: int
    loss: float
    weights: object


def work(progress: Progress) -> str:
    progress.phase("predicting", total=3, unit="tiles")
    for _ in range(3):
        progress.advance()
        progress.produce(Loss(1, 0.5, object()))
    return "done"


def test_json_lines_report_progress_and_plain_values(capsys):
    assert run_shown(work, "predict", display("json")) == "done"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reports = [line for line in lines if line["event"] == "report"]
    assert reports[-1] == {
        "event": "report", "phase": "predicting", "done": 3, "total": 3, "unit": "tiles", "message": "",
    }  # fmt: skip
    losses = [line for line in lines if line["event"] == "produced"]
    assert losses == [{"event": "produced", "type": "Loss", "values": {"step": 1, "loss": 0.5}}] * 3


def test_lines_say_each_phase_once_it_ends(capsys):
    run_shown(work, "predict", display("lines"))
    assert "predicting: 3/3 tiles" in capsys.readouterr().err


def test_a_bar_ends_with_the_cursor_given_back(capsys):
    shown = display("bar")
    run_shown(work, "predict", shown)
    shown.close()
    shown.table("Result", ["a"], [["[b]not markup"]])
    said = capsys.readouterr()
    assert "predicting" in said.err
    assert "[b]not markup" in said.out


def test_one_ctrl_c_stops_cleanly_and_hands_on_what_was_kept(capsys):
    begun = threading.Event()

    def endless(progress: Progress) -> None:
        begun.set()
        while not progress.token.wait(0.01):
            pass
        raise Cancelled(kept="half")

    killer = threading.Thread(target=lambda: (begun.wait(10), os.kill(os.getpid(), signal.SIGINT)))
    killer.start()
    with pytest.raises(Cancelled) as caught:
        run_shown(endless, "endless", display("lines"))
    killer.join()
    assert caught.value.kept == "half"
    assert "Press Ctrl-C again" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_work_that_does_not_listen():
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=-1, stderr=-1, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        while "Press Ctrl-C again" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    finally:
        child.kill()
        child.communicate()


def test_figures_say_how_far_how_fast_and_how_long():
    status = JobStatus(done=12, total=40, unit="tiles", rate=3.14, eta_s=9, message="B/03/0")
    assert figures(status) == "12/40 tiles, 3.14 tiles/s, 9 s left, B/03/0"
    assert figures(JobStatus()) == ""


@given(st.floats(0, 10**6))
def test_a_duration_is_never_further_off_than_its_last_unit(seconds):
    sizes = {"s": 1, "min": 60, "h": 3600}
    words = duration(seconds).split()
    said = sum(int(number) * sizes[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(said - seconds) <= sizes[words[-1]]
