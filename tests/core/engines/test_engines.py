"""Every engine computes what eager torch computes, on tiles of any size, and stops when it is told to."""

import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread, Timer

import numpy as np
import pytest
import torch
from torch import nn

from napari_vstain.core.engines import installed_engines, load, load_engine
from napari_vstain.core.errors import DependencyError, ModelError, SettingsError
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.models.spec import ModelSpec, Normalization, OutputSpec
from napari_vstain.core.progress import Cancelled, CancelToken

from .models import KINDS, batch_of, eager, flat, lively, relative_rms, spec_of, two_heads, unet

ENGINES = ("torch", "onnxruntime", "openvino")
FILE_ENGINES = ENGINES[1:]


@pytest.fixture(scope="module", params=KINDS)
def model(request) -> tuple[nn.Module, ModelSpec]:
    return KINDS[request.param]()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_computes_what_eager_torch_computes_for_any_batch_and_size(model, engine):
    network, spec = model
    loaded = load_engine(network, spec, engine=engine)
    assert loaded.name == engine
    assert loaded.precision == "float32"
    for batch in (batch_of(spec), batch_of(spec, 1, 32, 32, z=3), batch_of(spec, 3, 16, 80, z=1)):
        expected = eager(network, batch, spec)
        found = loaded.run(batch)
        assert list(found) == [output.task for output in spec.outputs]
        for task, array in found.items():
            assert array.dtype == np.float32
            assert relative_rms(array, expected[task]) <= 1e-5


@pytest.mark.parametrize("level", ["dataset", "fov"])
@pytest.mark.parametrize("engine", FILE_ENGINES)
def test_a_file_gives_normalized_intensities_whatever_normalization_it_holds(tmp_path, engine, level):
    network, spec = two_heads()
    spec = spec.model_copy(update={"source_normalization": Normalization(level=level)})
    path = export_onnx(network, spec, tmp_path / "model.onnx")
    batch = batch_of(spec)
    expected = eager(network, batch, spec)
    for task, array in load_engine(path, spec, engine=engine).run(batch).items():
        assert relative_rms(array, expected[task]) <= 1e-5


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tile_with_its_halo_equals_the_crop_of_the_whole(engine):
    network = unet(features=(8, 16, 16))
    spec = spec_of(network)
    halo, stride = spec.halo[1], spec.stride[1]
    whole = batch_of(spec, 1, 320, 352)
    loaded = load_engine(network, spec, engine=engine)
    expected = loaded.run(whole)["stain"]
    for y, x, size in ((0, 0, 96), (64, 128, 64), (stride, 2 * stride, 7 * stride)):
        read = whole[:, :, y : y + size + 2 * halo, x : x + size + 2 * halo]
        owned = (..., slice(halo, halo + size), slice(halo, halo + size))
        crop = expected[:, :, y + halo : y + halo + size, x + halo : x + halo + size]
        found = loaded.run(np.ascontiguousarray(read))["stain"][owned]
        assert np.sqrt(np.mean((found - crop) ** 2)) / expected.std() <= 1e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_returns_belongs_to_the_caller(engine):
    network, spec = flat()
    loaded = load_engine(network, spec, engine=engine)
    batch = batch_of(spec)
    given = batch.copy()
    first = loaded.run(batch)["stain"]
    kept = first.copy()
    second = loaded.run(batch_of(spec, seed=1))["stain"]
    assert np.array_equal(first, kept)
    assert first.flags.c_contiguous
    first[:] = 0
    second[:] = 0
    assert np.array_equal(batch, given)
    assert np.array_equal(loaded.run(batch)["stain"], kept)


def test_a_network_that_returns_its_input_does_not_hand_out_the_callers_batch():
    spec = spec_of(unet()).model_copy(update={"outputs": (OutputSpec(channels=("A", "B")),)})
    batch = batch_of(spec)
    found = load_engine(nn.Identity(), spec, engine="torch").run(batch)["stain"]
    assert np.array_equal(found, batch)
    assert not np.shares_memory(found, batch)


def test_a_read_only_batch_is_taken_as_it_is():
    network, spec = flat()
    batch = batch_of(spec)
    batch.flags.writeable = False
    for engine in ENGINES:
        assert (
            relative_rms(
                load_engine(network, spec, engine=engine).run(batch)["stain"],
                eager(network, batch.copy(), spec)["stain"],
            )
            <= 1e-5
        )


def seconds_of(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@pytest.mark.parametrize("engine", ENGINES)
def test_stop_interrupts_an_engine_in_the_middle_of_a_batch_and_leaves_it_usable(engine):
    network = lively(unet(features=(32, 64, 64)))
    spec = spec_of(network)
    loaded = load_engine(network, spec, engine=engine)
    small = batch_of(spec)
    before = loaded.run(small)["stain"]
    images = batch_of(spec, 8, 1024, 1024)
    one_image_s = seconds_of(lambda: loaded.run(images[:1]))
    token = CancelToken()
    Timer(0.2, token.cancel).start()

    def stopped():
        with pytest.raises(Cancelled):
            loaded.run(images, token)

    assert seconds_of(stopped) < 4 * one_image_s  # of eight, however busy the machine is
    assert np.array_equal(loaded.run(small)["stain"], before)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_told_to_stop_before_it_begins_does_not_begin(engine):
    network, spec = flat()
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        load_engine(network, spec, engine=engine).run(batch_of(spec), token)


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_may_share_an_engine(engine):
    network, spec = flat()
    loaded = load_engine(network, spec, engine=engine, threads=1)
    batches = [batch_of(spec, seed=seed) for seed in range(6)]
    found: dict[int, np.ndarray] = {}
    threads = [Thread(target=lambda i=i: found.update({i: loaded.run(batches[i])["stain"]})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, batch in enumerate(batches):
        assert relative_rms(found[i], eager(network, batch, spec)["stain"]) <= 1e-5


_MEMORY = """
import resource, sys
import numpy as np
from napari_vstain.core.engines import OutOfMemory
from napari_vstain.core.engines import load_engine
from napari_vstain.core.models.files.onnx_file import read_spec
path, engine = sys.argv[1:]
model, spec = path, read_spec(path)
if engine == "torch":
    from napari_vstain.core.models.unet import UNet
    model = UNet(2, features=(8, 16)).eval()
loaded = load_engine(model, spec, engine=engine, threads=1)
small = np.ones((1, 2, 32, 32), np.float32)
before = loaded.run(small)["stain"]
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (400 << 20),) * 2)
try:
    loaded.run(np.ones((1, 2, 4096, 4096), np.float32))
except OutOfMemory:
    assert np.array_equal(loaded.run(small)["stain"], before)
    print("fits no more")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory can be limited on Linux only")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_that_does_not_fit_says_so_and_the_engine_stays_usable(tmp_path, engine):
    network, spec = flat()
    path = export_onnx(network, spec, tmp_path / "model.onnx")
    program = [sys.executable, "-c", _MEMORY, str(path), engine]
    made = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert made.stdout.strip().endswith("fits no more"), made.stderr


def test_the_number_of_threads_is_shown_and_torchs_own_is_left_alone():
    network, spec = flat()
    before = torch.get_num_threads()
    for engine in ENGINES:
        loaded = load_engine(network, spec, engine=engine, threads=1)
        loaded.run(batch_of(spec))
        assert loaded.device == "CPU (1 thread)"
    assert torch.get_num_threads() == before
    with pytest.raises(SettingsError, match="at least 1"):
        load_engine(network, spec, engine="torch", threads=0)


def test_training_may_go_on_while_an_engine_predicts_with_what_the_network_was():
    network, spec = flat()
    loaded = load_engine(network, spec, engine="torch")
    batch = batch_of(spec)
    before = loaded.run(batch)["stain"]
    network.train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    network(torch.from_numpy(batch)).mean().backward()
    assert np.array_equal(loaded.run(batch)["stain"], before)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_reduced_precision_says_how_far_it_is_from_float32(engine):
    network, spec = flat()
    with suppress(SettingsError):  # OpenVINO refuses a processor that does not compute in it
        loaded = load_engine(network, spec, engine=engine, precision="bfloat16")
        batch = batch_of(spec)
        found = loaded.run(batch)["stain"]
        assert loaded.precision == "bfloat16"
        assert "off float32" in loaded.reason
        assert found.dtype == np.float32
        assert 1e-4 < relative_rms(found, eager(network, batch, spec)["stain"]) < 0.1


def test_onnx_runtime_refuses_a_precision_that_it_does_not_have():
    network, spec = flat()
    with pytest.raises(SettingsError, match="float32 only"):
        load_engine(network, spec, engine="onnxruntime", precision="bfloat16")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_device_that_is_not_there_is_refused(engine):
    network, spec = flat()
    with pytest.raises(SettingsError, match="device 'cuda:7'"):
        load_engine(network, spec, engine=engine, device="cuda:7")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "tensorflow"}, "engine 'tensorflow': is no engine; choose one of auto, torch"),
        ({"device": "tpu"}, "device 'tpu': is no device"),
        ({"precision": "int8"}, "precision 'int8': is no precision"),
    ],
)
def test_an_unknown_choice_is_refused_with_those_that_there_are(options, sentence):
    network, spec = flat()
    with pytest.raises(SettingsError, match=sentence):
        load_engine(network, spec, **options)


def test_an_engine_that_is_not_installed_says_how_to_install_it(monkeypatch):
    network, spec = flat()
    monkeypatch.setattr(load, "find_spec", lambda name: None if name == "openvino" else object())
    assert "openvino" not in installed_engines()
    with pytest.raises(DependencyError, match=r"not installed; install it: pip install 'napari-vstain\[openvino\]'"):
        load_engine(network, spec, engine="openvino")


def test_torch_does_not_run_files(tmp_path):
    network, spec = flat()
    path = export_onnx(network, spec, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="checkpoints, not ONNX files"):
        load_engine(path, spec, engine="torch")


@pytest.mark.parametrize("engine", FILE_ENGINES)
def test_a_file_that_is_no_model_is_refused(tmp_path, engine):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="is no ONNX model"):
        load_engine(path, flat()[1], engine=engine)


_NO_TORCH = """
import sys
import numpy as np
from napari_vstain.core.engines import load_engine
from napari_vstain.core.models.files.onnx_file import read_spec
heavy = {"torch", "monai", "lightning", "onnxscript"}
assert not (heavy | {"onnx", "onnxruntime", "openvino"}) & set(sys.modules)
spec = read_spec(sys.argv[1])
for engine in ("onnxruntime", "openvino", "auto"):
    load_engine(sys.argv[1], spec, engine=engine).run(np.zeros((1, 2, 32, 32), np.float32))
    assert not heavy & set(sys.modules), engine
"""


def test_predicting_from_a_file_loads_no_torch_and_importing_the_engines_loads_no_framework(tmp_path):
    network, spec = flat()
    path = export_onnx(network, spec, tmp_path / "model.onnx")
    subprocess.run([sys.executable, "-c", _NO_TORCH, str(path)], check=True, timeout=120)


_SIGNALLED = """
import faulthandler, gc, os, signal, sys
from threading import Thread
import numpy as np
from napari_vstain.core.engines import load_engine
from napari_vstain.core.models.files.onnx_file import read_spec

faulthandler.enable()
path, name = sys.argv[1:]
held = [load_engine(path, read_spec(path), engine=name)]
held[0].run(np.ones((1, 2, 64, 64), np.float32))

def let_go():
    held.clear()
    gc.collect()

thread = Thread(target=let_go)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("still here"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("engine", FILE_ENGINES)
def test_a_signal_does_not_crash_a_process_in_which_an_engine_went(tmp_path, engine):
    network, spec = flat()
    path = export_onnx(network, spec, tmp_path / "model.onnx")
    run = subprocess.run([sys.executable, "-c", _SIGNALLED, path, engine], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "still here"), run.stderr
