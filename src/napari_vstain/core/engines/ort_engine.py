"""ONNX Runtime runs an ONNX graph on the processor or on a CUDA device; interruptible in the middle of a batch."""

import logging
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as states

from napari_vstain.core.arrays import Array
from napari_vstain.core.engines.base import Engine, Precision
from napari_vstain.core.engines.devices import cpu_label, cpu_threads, cuda_devices, device_index
from napari_vstain.core.engines.footprint import graph_footprint
from napari_vstain.core.engines.out_of_memory import memory_errors, running
from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.files import reading
from napari_vstain.core.models.onnx.split_concat import without_joins
from napari_vstain.core.models.onnx.trim_halo import Cut, trimmed_content
from napari_vstain.core.progress import Cancelled, CancelToken

_FAILURES = (states.Fail, states.RuntimeException, states.EPFail)
_FATAL_ONLY = 4
"""What it says of errors on the terminal it raises too, and there it is made one sentence."""
_log = logging.getLogger(__name__)


class OnnxRuntimeEngine(Engine):
    """An ONNX graph in ONNX Runtime. It may be called from several threads at once.

    Parameters
    ----------
    content : bytes
        The serialized model: one input, outputs in the order of `tasks`.
    tasks : tuple of str
        Names of the outputs.
    device : str
        ``cpu``, ``cuda`` or ``cuda:<number>``.
    threads : int, optional
        On the processor; every core when left out.

    Raises
    ------
    SettingsError
        When ONNX Runtime refuses the device.
    ModelError
        When it cannot run the graph.
    """

    name = "onnxruntime"
    precision = str(Precision.FLOAT32)

    def __init__(
        self, content: bytes, tasks: tuple[str, ...], device: str = "cpu", threads: int | None = None, reason: str = ""
    ) -> None:
        count = cpu_threads(threads)
        self.device = cpu_label(count) if device == "cpu" else f"CUDA device {device_index(device)}"
        self.reason = reason
        self._content, self._tasks, self._place, self._threads = content, tasks, device, count
        self._on_cuda = device != "cpu"
        self._session = _session(content, device, count)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [value.name for value in self._session.get_outputs()]

    def run(self, batch: Array, token: CancelToken | None = None) -> dict[str, Array]:
        """Return the outputs by task; see `Engine`."""
        token = token or CancelToken()
        token.check()
        options = ort.RunOptions()
        forget = token.on_cancel(lambda: setattr(options, "terminate", True))
        try:
            with running(self.name, batch.shape), memory_errors(*_FAILURES):
                made = self._bound(batch, options) if self._on_cuda else self._plain(batch, options)
        except ModelError:
            if token.cancelled:
                raise Cancelled from None
            raise
        finally:
            forget()
        return {task: _own(array) for task, array in zip(self._tasks, made, strict=True)}

    def footprint(self, shape: tuple[int, ...]) -> float | None:
        """Return the bytes that it holds for each pixel of a batch of `shape`; see `graph_footprint`."""
        return graph_footprint(self._content, shape)

    def trimmed(self, halo: Cut) -> "OnnxRuntimeEngine | None":
        """Return this engine for tiles whose halo it cuts away inside; None when that gains nothing."""
        content = trimmed_content(self._content, halo)
        if content is None:
            return None
        return OnnxRuntimeEngine(content, self._tasks, self._place, self._threads, self.reason)

    def _plain(self, batch: Array, options: Any) -> list[Array]:
        made: list[Array] = self._session.run(self._outputs, {self._input: batch}, options)
        return made

    def _bound(self, batch: Array, options: Any) -> list[Array]:
        """Run on a CUDA device with one copy in and one out for each output."""
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, np.ascontiguousarray(batch))
        for name in self._outputs:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, options)
        made: list[Array] = binding.copy_outputs_to_cpu()
        return made


def _session(content: bytes, device: str, threads: int) -> Any:
    providers = _providers(device)
    with reading("model", None, "ONNX Runtime cannot run it", "choose another engine", kind=ModelError):
        graph = without_joins(content) if device == "cpu" else content
        session = ort.InferenceSession(graph, _options(threads), providers=providers)
    if device != "cpu" and session.get_providers()[0] != "CUDAExecutionProvider":
        rule = "ONNX Runtime refused CUDA: its libraries of CUDA and cuDNN are missing or of another version"
        raise SettingsError(
            "device", device, rule, "install them (`pip install onnxruntime-gpu[cuda,cudnn]`) or use cpu"
        )
    return session


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    index = device_index(device)
    known = "CUDAExecutionProvider" in ort.get_available_providers()
    if not device.startswith("cuda") or not known or index >= cuda_devices():
        raise SettingsError("device", device, "ONNX Runtime finds no such device", "choose cpu")
    ort.preload_dlls()
    # TF32 would round to 10 bits what law 1 wants exact; an exhaustive search would repeat for every tile shape.
    options = {"device_id": index, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def _options(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Threads that spin between two batches would take the cores from the window and from the writers.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _own(array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32)
