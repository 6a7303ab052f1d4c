"""A verb in a child process behaves as one in this process, and leaves nothing behind."""

import ast
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import napari_vstain.core
from napari_vstain.core import processes
from napari_vstain.core.child import STAGES, run_in_child, stage_command
from napari_vstain.core.errors import ChannelError, VstainError
from napari_vstain.core.evaluation import EvaluateSettings
from napari_vstain.core.preprocessing import PreprocessResult, PreprocessSettings
from napari_vstain.core.processes import ChildOutput, run_child
from napari_vstain.core.progress import Cancelled, CancelToken, Progress
from napari_vstain.core.wire import WireRecord
from napari_vstain.core.workspace import Workspace

TALK = """
import json, os, signal, subprocess, sys, time
from napari_vstain.core.processes import end_with_parent
def say(event, **values): print(json.dumps({"event": event, **values}), flush=True)
def report(done, phase="work"): say("report", phase=phase, done=done, total=3, unit="tile", message="")
"""


@dataclass(frozen=True)
class Loss:
    """A product, for the tests."""

    step: int
    loss: float


class Listener:
    """Keeps what a stage says, and can act on a phase's report."""

    def __init__(self, act=lambda report: None):
        self.reports, self.items, self.act = [], [], act

    def reported(self, report):
        self.reports.append(report)
        self.act(report)

    def produced(self, item):
        self.items.append(item)


def run(script, progress=None, products=None, grace_s=5.0):
    output = ChildOutput(progress or Progress(), products or {})
    run_child([sys.executable, "-c", TALK + textwrap.dedent(script)], "child", output, grace_s)
    return output.result


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    before = set(psutil.Process().children(recursive=True))
    yield
    assert not set(psutil.Process().children(recursive=True)) - before


def test_reports_products_and_the_result_arrive_in_order():
    listener = Listener()
    result = run(
        """
        print("a line by somebody else")
        print('{"half": ')
        print('[1, 2]')
        report(0); report(1); report(3); report(0, "next"); report(2, "next")
        say("produced", type="Loss", values={"step": 3, "loss": 0.5})
        say("produced", type="Other", values={"a": 1})
        say("returned", type="Result", values={"metrics": "/somewhere/metrics.csv"})
        """,
        Progress(sink=listener),
        {"Loss": Loss},
    )
    assert [(report.phase, report.done) for report in listener.reports] == [
        ("work", 0), ("work", 1), ("work", 3), ("next", 0), ("next", 2),
    ]  # fmt: skip
    assert {(report.total, report.unit) for report in listener.reports} == {(3, "tile")}
    assert listener.items == [Loss(3, 0.5), WireRecord("Other", {"a": 1})]
    assert result == WireRecord("Result", {"metrics": "/somewhere/metrics.csv"})


def test_an_error_keeps_its_class_its_parts_and_what_stderr_said():
    with pytest.raises(ChannelError) as caught:
        run(
            """
            print("a warning", file=sys.stderr)
            say("error", type="ChannelError", field="source channel", value="Phase2", rule="is not there", remedy="x")
            sys.exit(1)
            """
        )
    error = caught.value
    assert (error.field, error.value, error.rule, error.remedy) == ("source channel", "Phase2", "is not there", "x")
    assert "a warning" in error.__notes__[0] and "a warning" not in str(error)


def test_an_error_of_an_unknown_class_is_one_of_ours():
    with pytest.raises(VstainError, match="a rule") as caught:
        run('say("error", type="Path", field="f", value=None, rule="a rule", remedy="r"); sys.exit(1)')
    assert type(caught.value) is VstainError


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sys.exit('no such option')", "ended with code 1: no such option"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_child_that_dies_without_a_word_is_explained(script, said):
    with pytest.raises(VstainError, match=said):
        run(script)


def test_stop_ends_the_child_at_once_and_keeps_what_it_saved():
    token = CancelToken()
    listener = Listener(lambda report: report.done == 1 and token.cancel())
    began = time.monotonic()
    with pytest.raises(Cancelled) as caught:
        run(
            """
            def stop(*_):
                say("returned", type="Result", values={"checkpoint": "last.ckpt"})
                sys.exit(130)
            signal.signal(signal.SIGTERM, stop)
            report(0); report(1)
            time.sleep(60)
            """,
            Progress(token, listener),
        )
    assert caught.value.kept == WireRecord("Result", {"checkpoint": "last.ckpt"})
    assert time.monotonic() - began < 5


def test_a_child_that_does_not_stop_is_killed_with_all_it_started():
    token, pids = CancelToken(), []

    def act(report):
        if report.done:
            pids.append(int(report.done))
            token.cancel()

    with pytest.raises(Cancelled):
        run(
            """
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            report(0); report(grandchild.pid)
            time.sleep(60)
            """,
            Progress(token, Listener(act)),
            grace_s=0.2,
        )
    assert len(pids) == 1 and eventually(lambda: gone(pids[0]))


def test_a_grandchild_left_behind_does_not_hold_the_parent():
    began = time.monotonic()
    result = run(
        """
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        say("returned", type="Result", values={"a": "b"})
        """
    )
    assert result == WireRecord("Result", {"a": "b"})
    assert time.monotonic() - began < 20


def test_nothing_starts_when_it_is_stopped_before():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        run("say('returned', type='Result', values={})", Progress(token))


def test_the_child_dies_with_its_parent(tmp_path):
    pid_file = tmp_path / "pid"
    child = TALK + f"end_with_parent(); open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    parent = f"""
import sys
from napari_vstain.core.processes import ChildOutput, run_child
from napari_vstain.core.progress import Progress
run_child([sys.executable, "-c", {child!r}], "child", ChildOutput(Progress()), 1.0)
"""
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text()))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert eventually(lambda: gone(pid))
    finally:
        process.kill()
        process.wait()


def test_a_real_stage_runs_in_a_child_and_its_error_comes_back(tmp_path):
    workspace = Workspace.create(tmp_path / "workspace")
    with pytest.raises(VstainError, match="nothing-here"):
        run_in_child("evaluate", EvaluateSettings(experiment="nothing-here"), workspace, Progress())


@pytest.mark.parametrize("stage", STAGES)
def test_no_file_of_the_current_folder_is_run_in_the_place_of_a_library(booby_trapped, tmp_path, stage):
    workspace = Workspace.create(tmp_path / "workspace")
    config = tmp_path / "config.yml"
    config.write_text("nothing: known\n")
    with pytest.raises(VstainError):
        run_child(stage_command(stage, config, workspace), stage, ChildOutput(Progress()), 1.0)


def test_a_stage_runs_in_a_booby_trapped_folder_and_its_result_comes_back(booby_trapped, workspace):
    result = run_in_child("preprocess", PreprocessSettings(dataset="cells"), workspace, Progress()).to(PreprocessResult)
    assert result.dataset == workspace.find_dataset("cells")
    assert result.config.is_file()
    assert set(result.statistics) and result.positions


def test_a_real_stage_is_stopped_and_leaves_nothing_behind(workspace):
    token = CancelToken()
    progress = Progress(token, Listener(lambda report: token.cancel()))
    with pytest.raises(Cancelled):
        run_in_child("preprocess", PreprocessSettings(dataset="cells"), workspace, progress)


def test_core_starts_no_command_line():
    """A child runs a stage; what people type, and what they read, is the command line's."""
    package = Path(napari_vstain.core.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("python_command"):
                *_, program = [ast.literal_eval(one) for one in node.args[:2] if isinstance(one, ast.Constant)]
                assert program in ("-c", "napari_vstain.core.child"), path
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"-m napari_vstain\b(?!\.core)|^napari_vstain\.cli", node.value), path
            if isinstance(node, ast.ImportFrom | ast.Import):
                assert "napari_vstain.cli" not in ast.unparse(node), path


def test_every_child_is_started_by_one_command():
    """Else the next one that is written looks in the user's folder again."""
    package = Path(napari_vstain.__file__).parent
    named = [path.name for path in package.rglob("*.py") if "sys.executable" in path.read_text()]
    assert named == ["processes.py"]
    assert processes.python_command("-c", "")[:2] == [sys.executable, "-P"]


def gone(pid):
    """Return True when no process of that id runs; one that awaits its new parent counts as gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(condition, timeout_s=20.0):
    """Return the first true value of `condition`, asked every 20 ms."""
    deadline, tick = time.monotonic() + timeout_s, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came"
        tick.wait(0.02)
    return value


def test_the_leash_is_not_worn_by_a_program_that_a_person_starts():
    code = "from napari_vstain.core.processes import end_with_parent; end_with_parent(); import threading; " \
        "print(threading.active_count())"  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "VSTAIN_ENDS_WITH_PARENT"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "1"
