"""A network is exported once: the same one comes from the cache, and no other one ever does."""

import time
from threading import Timer

import pytest
import torch
from torch import nn

from napari_vstain.core.files import cache_folder
from napari_vstain.core.inference.engines import exported
from napari_vstain.core.inference.engines.exported import digest, network_bytes
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
