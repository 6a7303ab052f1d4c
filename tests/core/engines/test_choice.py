"""``engine: auto`` takes the fastest engine that computes the same, once, and says why."""

import time

import numpy as np
import pytest

from napari_vstain.core.engines import Engine, choice, load_engine
from napari_vstain.core.engines.base import EngineName, Precision
from napari_vstain.core.engines.choice import Candidate, fastest, probe
from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import cache_folder
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.progress import Cancelled, CancelToken

from .models import KINDS, batch_of, eager, flat, relative_rms


class Fake(Engine):
    """An engine that takes `seconds` for a batch and is off by `error`."""

    def __init__(self, candidate: Candidate, reason: str, seconds: float = 0, error: float = 0) -> None:
        self.name, self.device, self.precision = str(candidate.engine), candidate.device, str(candidate.precision)
        self.reason = reason
        self._seconds, self._error = seconds, error

    def run(self, batch, token=None):
        time.sleep(self._seconds)
        noise = np.random.default_rng(1).standard_normal(batch.shape, dtype=np.float32)
        return {"stain": batch + self._error * noise}


def on_cpu(engine: str, precision: str = "float32") -> Candidate:
    return Candidate(EngineName(engine), "cpu", Precision(precision))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VSTAIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """Return the candidates that are measured, as they are."""
    seen = []
    original = choice._measured

    def watch(candidate, *rest):
        seen.append(str(candidate))
        return original(candidate, *rest)

    monkeypatch.setattr(choice, "_measured", watch)
    return seen


def test_auto_measures_what_is_installed_and_remembers_the_fastest(measured):
    network, spec = flat()
    first = load_engine(network, spec)
    assert set(measured) == {"torch", "onnxruntime", "openvino"}
    assert first.reason.startswith("the fastest on a small probe")
    assert all(name in first.reason for name in {"torch", "onnxruntime", "openvino"} - {first.name})
    measured.clear()
    again = load_engine(network, spec)
    assert measured == []
    assert (again.name, again.reason) == (first.name, first.reason)
    batch = batch_of(spec)
    assert relative_rms(again.run(batch)["stain"], eager(network, batch, spec)["stain"]) <= 1e-5


def test_auto_runs_a_file_without_torch(tmp_path, measured):
    network, spec = flat()
    engine = load_engine(export_onnx(network, spec, tmp_path / "model.onnx"), spec)
    assert set(measured) == {"onnxruntime", "openvino"}
    assert engine.name in measured


def test_other_threads_another_precision_or_another_network_is_another_choice(measured):
    for number, options in enumerate([{}, {"threads": 1}, {"precision": "auto"}, {}]):
        load_engine(*flat(), **options)
        assert bool(measured) is (number < 3)
        measured.clear()
    load_engine(*KINDS["two outputs"]())
    assert measured


def test_a_choice_that_cannot_be_read_is_made_again(measured):
    network, spec = flat()
    load_engine(network, spec)
    measured.clear()
    for path in cache_folder("engines").glob("*.json"):
        path.write_text('{"candidate": 3')
    load_engine(network, spec)
    assert measured


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VSTAIN_CACHE", str(tmp_path / "file"))
    network, spec = flat()
    assert load_engine(network, spec).run(batch_of(spec))["stain"].shape == (2, 1, 48, 64)


def test_an_engine_that_computes_something_else_is_not_chosen_however_fast(measured):
    _, spec = flat()
    quick, exact = on_cpu("openvino"), on_cpu("torch")
    made = {quick: {"error": 1e-3}, exact: {"seconds": 0.002}}
    engine = fastest([quick, exact], lambda c, r: Fake(c, r, **made[c]), spec, "key", CancelToken())
    assert engine.name == "torch"
    assert "openvino: 1.0e-03 off torch, more than 1e-05" in engine.reason


@pytest.mark.parametrize(("error", "chosen"), [(5e-3, "bfloat16"), (2e-2, "float32")])
def test_a_reduced_precision_is_chosen_only_while_its_error_is_small(error, chosen):
    _, spec = flat()
    full, reduced = on_cpu("openvino"), on_cpu("openvino", "bfloat16")
    made = {reduced: {"error": error}, full: {"seconds": 0.002}}
    engine = fastest([full, reduced], lambda c, r: Fake(c, r, **made[c]), spec, "key", CancelToken())
    assert engine.precision == chosen


def test_an_engine_that_cannot_run_the_network_is_passed_over_and_named():
    _, spec = flat()

    def build(candidate, reason):
        if candidate.engine is EngineName.OPENVINO:
            raise ModelError("model", None, "has a layer that OpenVINO does not know", "choose another engine")
        return Fake(candidate, reason)

    engine = fastest([on_cpu("openvino"), on_cpu("torch")], build, spec, "key", CancelToken())
    assert engine.name == "torch"
    assert "has a layer that OpenVINO does not know" in engine.reason
    with pytest.raises(ModelError, match="does not know"):
        fastest([on_cpu("openvino")], build, spec, "other key", CancelToken())


def test_a_remembered_engine_that_no_longer_works_is_chosen_anew():
    _, spec = flat()
    both = [on_cpu("openvino"), on_cpu("torch")]
    slow = {both[0]: 0.0, both[1]: 0.003}
    first = fastest(both, lambda c, r: Fake(c, r, slow[c]), spec, "key", CancelToken())
    assert first.name == "openvino"

    def without_openvino(candidate, reason):
        if candidate.engine is EngineName.OPENVINO:
            raise ModelError("model", None, "no longer", "choose another engine")
        return Fake(candidate, reason)

    assert fastest(both, without_openvino, spec, "key", CancelToken()).name == "torch"


def test_what_is_compared_is_said_and_the_comparison_ends_in_time(monkeypatch):
    _, spec = flat()
    both, said = [on_cpu("torch"), on_cpu("openvino")], []
    fastest(both, Fake, spec, "key", CancelToken(), said.append)
    assert said == ["torch", "openvino"]
    monkeypatch.setattr("napari_vstain.core.engines.choice.COMPARE_S", 0.0)
    engine = fastest(both, Fake, spec, "other key", CancelToken())
    assert engine.name == "torch"
    assert "openvino: not tried" in engine.reason


def test_stop_ends_the_choice():
    _, spec = flat()
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        fastest([on_cpu("torch")], Fake, spec, "key", token)


@pytest.mark.parametrize("kind", KINDS)
def test_the_probe_is_on_the_stride_grid_and_each_engine_takes_it(kind):
    network, spec = KINDS[kind]()
    batch = probe(spec)
    assert all(n % stride == 0 for n, stride in zip(batch.shape[-2:], spec.stride[1:], strict=True))
    assert batch.shape[:2] == (1, 2)
    assert set(eager(network, batch, spec)) == {output.task for output in spec.outputs}
