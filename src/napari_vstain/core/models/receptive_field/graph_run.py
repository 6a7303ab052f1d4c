"""Run an ONNX graph that somebody else made: bounded in time, stopped on request, and every value to be seen."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event, Timer
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.errors import ModelError
from napari_vstain.core.progress import Cancelled, CancelToken

GraphValues = dict[str, npt.NDArray[Any]]
LIMIT_S = 6.0
"""How long a network may take for `LIMIT_PX` pixels, and for each so many more: what needs longer never ends."""
LIMIT_PX = 64 * 64


class Refused(Exception):
    """A size that the network does not take."""


class GraphRunner:
    """A graph in ONNX Runtime, on the processor.

    Parameters
    ----------
    model : onnx.ModelProto
        Of one input.
    path : Path
        Its file, to be named in errors.
    token : CancelToken
        Ends a run within the layer in hand.
    every : bool
        Give out every value of the graph, not only its outputs.

    Raises
    ------
    ModelError
        When ONNX Runtime cannot run it, or a run takes too long.
    """

    def __init__(self, model: Any, path: Path, token: CancelToken, every: bool = False) -> None:
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        self._path, self._token = path, token
        self._failures = (
            states.Fail,
            states.RuntimeException,
            states.InvalidArgument,
            states.InvalidGraph,
            states.NotImplemented,
            states.EPFail,
        )
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if every:  # a value that was optimized away could not be seen
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            model = _seen(model)
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except self._failures as error:
            rule = f"ONNX Runtime cannot run it ({str(error).splitlines()[0]})"
            raise ModelError("model", path, rule, "export it again") from error
        self._input = self._session.get_inputs()[0].name
        self._outputs = [value.name for value in self._session.get_outputs()]

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output.

        Raises
        ------
        Refused
            When the network does not take images of this size.
        Cancelled
            When it was stopped.
        """
        made: npt.NDArray[np.float32] = self._run(batch, self._outputs[:1])[0]
        return made

    def values(self, batch: npt.NDArray[np.float32]) -> GraphValues:
        """Return every value that is given out, by name; raises as `run`."""
        made = zip(self._outputs, self._run(batch, self._outputs), strict=True)
        return {name: value for name, value in made if isinstance(value, np.ndarray)}

    def _run(self, batch: npt.NDArray[np.float32], outputs: Sequence[str]) -> list[Any]:
        import onnxruntime as ort

        self._token.check()
        options, late = ort.RunOptions(), Event()

        def stop() -> None:
            options.terminate = True

        def stop_late() -> None:
            late.set()
            stop()

        limit = LIMIT_S * max(batch[:, 0].size / LIMIT_PX, 1)
        timer = Timer(limit, stop_late)
        timer.daemon = True
        forget = self._token.on_cancel(stop)
        timer.start()
        try:
            return list(self._session.run(list(outputs), {self._input: batch}, options))
        except self._failures as error:
            if self._token.cancelled:
                raise Cancelled from None
            if late.is_set():
                size = " × ".join(map(str, batch.shape[2:]))
                rule = f"had not predicted an image of {size} px after {limit:.0f} s: it may have no end"
                raise ModelError("model", self._path, rule, "use another model") from error
            raise Refused(str(error).splitlines()[0]) from error
        finally:
            timer.cancel()
            forget()


def _seen(model: Any) -> Any:
    """Return a copy of the model that gives out every value of its graph."""
    import onnx

    made = type(model)()
    made.CopyFrom(model)
    given = {value.name for value in made.graph.output}
    names = [name for node in made.graph.node for name in node.output if name and name not in given]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return made
