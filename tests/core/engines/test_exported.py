"""A network is exported once: the same one comes from the cache, and no other one ever does."""

import os
import subprocess
import sys
import time
from threading import Timer

import psutil
import pytest
import torch
from torch import nn

from napari_vstain.core.engines import exported
from napari_vstain.core.engines.exported import digest, network_bytes
from napari_vstain.core.files import cache_folder
from napari_vstain.core.jobs import FinishReason, Job
from napari_vstain.core.models.spec import ModelSpec

from .models import flat, spec_of, unet


class Half(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


@pytest.fixture(autouse=True)
def exports(tmp_path, monkeypatch) -> list[nn.Module]:
    """Return the networks that are exported, as they are, into an empty cache."""
    monkeypatch.setenv("VSTAIN_CACHE", str(tmp_path / "cache"))
    seen = []
    original = exported.trace_network

    def watch(network: nn.Module, spec: ModelSpec):
        seen.append(network)
        return original(network, spec)

    monkeypatch.setattr(exported, "trace_network", watch)
    return seen


def test_the_same_network_is_exported_once(exports):
    first = network_bytes(*flat())
    assert network_bytes(*flat()) == first
    assert len(exports) == 1


def test_a_file_in_the_cache_that_was_cut_short_is_made_again(exports):
    first = network_bytes(*flat())
    (path,) = cache_folder("onnx").iterdir()
    path.write_bytes(first[: len(first) // 2])
    assert network_bytes(*flat()) == first
    assert len(exports) == 2


def test_a_network_of_someone_elses_layers_is_exported_each_time(exports):
    spec = spec_of(unet())
    network = nn.Sequential(nn.Conv2d(2, 1, 1), Half())
    network_bytes(network, spec)
    network_bytes(network, spec)
    assert len(exports) == 2
    assert not cache_folder("onnx").exists()


def test_whatever_changes_the_prediction_changes_the_digest():
    network, spec = flat()
    known = {digest(network, spec)}
    assert digest(unet(), spec) in known
    for options in ({"skip": "add"}, {"residual": True}, {"features": (8, 8)}, {"convolutions": 1}):
        known.add(digest(unet(**options), spec))
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 1e-6
    known.add(digest(network, spec))
    network = unet()
    network.encoder[0].layers[1].running_mean[0] += 1e-6
    known.add(digest(network, spec))
    network = unet()
    network.encoder[0].layers[1].eps = 1e-2
    known.add(digest(network, spec))
    assert len(known) == 8


def test_networks_that_differ_in_a_constant_of_their_code_have_other_digests():
    def layer(source: str) -> nn.Module:
        made: dict[str, type[nn.Module]] = {}
        exec(f"class Layer(nn.Module):\n def forward(self, x): return {source}", {"nn": nn}, made)
        return made["Layer"]()

    spec = spec_of(unet())
    sources = ("x * 2", "x * 3", "x if x.mode in {'a', 'b'} else (lambda y: y + 1)(x)", "(lambda y: y + 2)(x)")
    assert len({digest(layer(source), spec) for source in sources}) == len(sources)
    assert digest(layer("x * 2"), spec) == digest(layer("x * 2"), spec)


def test_a_digest_is_the_same_in_every_process():
    script = (
        "from torch import nn\nfrom napari_vstain.core.engines.exported import _said_by\n"
        "def f(x): return x in {'a', 'b', 'c', 'd', 'e'}\nprint(_said_by(f.__code__))"
    )
    said = {
        subprocess.check_output([sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot kill itself like this there")
def test_an_export_ends_with_its_parent_and_leaves_nothing(tmp_path):
    script = (
        "import os, pickle, signal, subprocess, sys, time\n"
        "from napari_vstain.core.engines import exported\n"
        "slow = 'import time; from napari_vstain.core.engines import exported as e; '\n"
        "slow += 'e._exported = lambda *_: time.sleep(60); e.export_what_is_sent()'\n"
        "child = subprocess.Popen([sys.executable, '-c', slow], stdin=subprocess.PIPE)\n"
        "child.stdin.write(pickle.dumps((1, 2))); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(5); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
    until = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "it runs on"
        time.sleep(0.05)


def test_the_cache_holds_a_few_networks_only(monkeypatch):
    monkeypatch.setattr(exported, "_KEPT", 2)
    spec = spec_of(unet())
    for bias in range(4):
        layer = nn.Conv2d(2, 1, 1)
        nn.init.constant_(layer.bias, bias)
        network_bytes(layer, spec)
    assert len(list(cache_folder("onnx").iterdir())) == 2


def test_on_a_jobs_thread_the_export_runs_in_a_process_of_its_own(exports):
    network, spec = flat()
    job = Job(lambda progress: network_bytes(network, spec, progress.token), "export").start()
    job.wait()
    made = job.result()
    assert exports == []
    assert network_bytes(*flat()) == made, "and the main thread finds it in the cache"
    assert exports == []


def test_stop_ends_an_export_within_a_second(exports):
    network, spec = flat()
    job = Job(lambda progress: network_bytes(network, spec, progress.token), "export").start()
    Timer(0.3, job.stop).start()
    job.token.wait(60)
    began = time.perf_counter()
    job.wait()
    assert time.perf_counter() - began < 1
    assert job.status.reason is FinishReason.CANCELLED
    assert not cache_folder("onnx").exists()


def test_a_child_that_fails_leaves_the_export_to_this_process(exports, monkeypatch):
    monkeypatch.setattr(exported, "_CHILD", "raise SystemExit(3)")
    network, spec = flat()
    job = Job(lambda progress: network_bytes(network, spec, progress.token), "export").start()
    job.wait()
    assert len(exports) == 1
    assert job.result() == network_bytes(*flat())


def test_the_child_runs_no_file_of_the_current_folder(exports, booby_trapped):
    network, spec = flat()
    job = Job(lambda progress: network_bytes(network, spec, progress.token), "export").start()
    job.wait()
    assert job.result()
    assert exports == [], "the child has done it"
