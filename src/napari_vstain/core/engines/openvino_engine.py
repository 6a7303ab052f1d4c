"""OpenVINO runs an ONNX graph on the processor, the fastest there; interruptible in the middle of a batch."""

import math
from collections.abc import Callable
from functools import cache, partial
from threading import Lock
from typing import Any

import numpy as np
import openvino as ov

from napari_vstain.core.arrays import Array
from napari_vstain.core.engines.base import Engine, Precision
from napari_vstain.core.engines.devices import cpu_label, cpu_threads
from napari_vstain.core.engines.footprint import graph_footprint
from napari_vstain.core.engines.out_of_memory import memory_errors, running
from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.files import reading
from napari_vstain.core.models.onnx.fuse_upsample_conv import composed
from napari_vstain.core.models.onnx.split_concat import without_joins
from napari_vstain.core.models.onnx.trim_halo import Cut, trimmed_content
from napari_vstain.core.progress import Cancelled, CancelToken

Shape = tuple[int, ...]
_HINTS = {Precision.FLOAT32: ("f32", "FP32"), Precision.BFLOAT16: ("bf16", "BF16"), Precision.FLOAT16: ("f16", "FP16")}


KEPT_PIXELS = 8_000_000
"""Batches of several shapes are kept compiled as long as their pixels are no more than this together."""


class OpenVinoEngine(Engine):
    """An ONNX graph in OpenVINO, of any batch and tile size; calls from several threads wait for each other.

    The graph is compiled for each shape of batch, and the last ones are kept. With free axes one graph would do,
    but OpenVINO works out the shapes of later layers on another thread, which a cancelled run leaves behind with
    the graph in disorder: the next run fails, or the process crashes (2026.4). Compiling takes about 0.05 s.

    Parameters
    ----------
    content : bytes
        The serialized model: one input, outputs in the order of `tasks`.
    tasks : tuple of str
        Names of the outputs.
    precision : {"float32", "bfloat16", "float16"}
        What the processor computes in; input and output are float32.
    threads : int, optional
        Every core when left out.

    Raises
    ------
    SettingsError
        When the processor cannot compute in `precision`.
    ModelError
        When OpenVINO cannot run the graph.
    """

    name = "openvino"

    def __init__(
        self,
        content: bytes,
        tasks: tuple[str, ...],
        precision: str = Precision.FLOAT32,
        threads: int | None = None,
        reason: str = "",
    ) -> None:
        count = cpu_threads(threads)
        self.device = cpu_label(count)
        self.precision = str(precision)
        self.reason = reason
        self._content, self._tasks, self._threads = content, tasks, count
        self._lock = Lock()
        self._compile: Callable[[Shape], Any] = _compiler(content, Precision(precision), count)
        self._requests: dict[Shape, Any] = {}

    def run(self, batch: Array, token: CancelToken | None = None) -> dict[str, Array]:
        """Return the outputs by task; see `Engine`."""
        token = token or CancelToken()
        with self._lock, running(self.name, batch.shape), memory_errors(RuntimeError):
            token.check()
            request = self._request(batch.shape)
            forget = token.on_cancel(request.cancel)
            try:
                request.start_async({0: np.ascontiguousarray(batch)}, share_inputs=True)
                if token.cancelled:  # while it was compiled, when there was nothing to cancel yet
                    request.cancel()
                request.wait()
            except RuntimeError:
                self._requests.pop(batch.shape)  # after a failed allocation it would fail for ever
                if token.cancelled:
                    raise Cancelled from None
                raise
            finally:
                forget()
            outputs = (request.get_output_tensor(index).data for index in range(len(self._tasks)))
            return {task: np.array(output, np.float32) for task, output in zip(self._tasks, outputs, strict=True)}

    def footprint(self, shape: tuple[int, ...]) -> float | None:
        """Return the bytes that it holds for each pixel of a batch of `shape`; see `graph_footprint`."""
        return graph_footprint(self._content, shape)

    def trimmed(self, halo: Cut) -> "OpenVinoEngine | None":
        """Return this engine for tiles whose halo it cuts away inside; None when that gains nothing."""
        content = trimmed_content(self._content, halo)
        if content is None:
            return None
        return OpenVinoEngine(content, self._tasks, self.precision, self._threads, self.reason)

    def _request(self, shape: Shape) -> Any:
        """Return the request of a shape, now the last used one; older ones make room."""
        request = self._requests.pop(shape, None)
        kept = sum(math.prod(other) for other in self._requests)
        while self._requests and kept + math.prod(shape) > KEPT_PIXELS:
            oldest = next(iter(self._requests))
            kept -= math.prod(oldest)
            del self._requests[oldest]
        self._requests[shape] = self._compile(shape) if request is None else request
        return self._requests[shape]


@cache
def _core() -> Any:
    """Return the one core of this process, which is never let go.

    Its processor plugin gives the thread that loads it another stack for signals, and takes the memory back when the
    core goes; when that happens on another thread, the next signal, such as Ctrl-C, crashes the process (2026.4).
    """
    return ov.Core()


def _compiler(content: bytes, precision: Precision, threads: int) -> Callable[[Shape], Any]:
    """Return what compiles the graph for a shape of batch; what the processor cannot do is said here."""
    core = _core()
    hint, capability = _HINTS[precision]
    if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise SettingsError("precision", precision, "this processor does not compute in it", "choose float32")
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads would fight with the window's and the writers' for the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    with reading("model", None, "OpenVINO cannot read it", "choose another engine", kind=ModelError):
        content = composed(without_joins(content))
    try:
        model = core.read_model(content, b"")
        core.compile_model(model, "CPU", properties)
    except RuntimeError as error:
        rule = f"OpenVINO cannot run it ({_last_line(error)})"
        raise ModelError("model", None, rule, "choose another engine") from error
    return partial(_compiled, core, model, properties)


def _compiled(core: Any, model: Any, properties: dict[str, Any], shape: Shape) -> Any:
    fixed = model.clone()
    fixed.reshape(list(shape))
    return core.compile_model(fixed, "CPU", properties).create_infer_request()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
