"""`load_engine`: a network or an ONNX file becomes an engine, the one asked for or the fastest here."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_vstain.core.engines.base import Engine, EngineName, OutOfMemory, Precision
from napari_vstain.core.engines.choice import Candidate, Tell, fastest, memory_key, probe, reduced_error
from napari_vstain.core.engines.devices import cpu_model, cpu_threads, cuda_devices, device_index
from napari_vstain.core.errors import DependencyError, ModelError, SettingsError
from napari_vstain.core.files import reading
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.models.tried_shapes import output_shape, tried_shape
from napari_vstain.core.progress import Cancelled, CancelToken

if TYPE_CHECKING:
    from torch import nn

Choice = TypeVar("Choice", bound=StrEnum)
_REMEDIES = {
    EngineName.TORCH: "install it: pip install torch",
    EngineName.ONNXRUNTIME: "install it: pip install onnxruntime",
    EngineName.OPENVINO: "install it: pip install 'napari-vstain[openvino]'",
}
_PACKAGES = ("napari-vstain", "torch", "onnxruntime-gpu", "onnxruntime", "openvino")


def load_engine(
    model: "nn.Module | Path | str",
    spec: ModelSpec,
    *,
    engine: EngineName | str = EngineName.AUTO,
    device: str = "auto",
    precision: Precision | str = Precision.FLOAT32,
    threads: int | None = None,
    compiled: bool = False,
    token: CancelToken | None = None,
    tell: Tell = lambda what: None,
) -> Engine:
    """Return a network ready to run.

    Parameters
    ----------
    model : torch.nn.Module or path
        A network, which is copied, or an ONNX file, which loads no torch. Normalization in the file is taken out.
    spec : ModelSpec
        What the model says of itself.
    engine : {"auto", "torch", "onnxruntime", "openvino"}
        ``auto`` measures those that are installed once, on a small probe, and remembers the fastest that computes
        the same; `Engine.reason` says which and why.
    device : {"auto", "cpu", "cuda", "cuda:<number>", "mps"}
        ``auto`` takes a CUDA device or Apple's if there is one.
    precision : {"float32", "bfloat16", "float16", "auto"}
        ``auto`` may choose bfloat16, where it is faster and its relative RMS to float32 on the probe is at most 1e-2.
    threads : int, optional
        Of the processor; every core when left out.
    compiled : bool
        Torch only: use `torch.compile`.
    token : CancelToken, optional
        Ends an export, and the comparison of the engines.
    tell
        Called with the name of each engine that is compared, when its turn comes.

    Raises
    ------
    SettingsError
        For an unknown choice, a device that is not there, or a precision that it does not compute in.
    DependencyError
        When the engine is not installed.
    ModelError
        When the file is no model, or the engine cannot run it.
    """
    token = token or CancelToken()
    loader = _Loader(model, spec, cpu_threads(threads), compiled, token)
    wanted = _choice(EngineName, "engine", engine)
    options = list(loader.candidates(wanted, device, _choice(Precision, "precision", precision)))
    if len(options) > 1:
        weights = [spec.fingerprint] if precision == Precision.AUTO else []
        key = memory_key(loader.architecture, [str(option) for option in options], loader.surroundings, weights)
        return fastest(options, loader.build, spec, key, token, tell)
    return loader.build(options[0], "the only one here" if wanted is EngineName.AUTO else "chosen in the settings")


def check_outputs(engine: Engine, spec: ModelSpec, token: CancelToken | None = None) -> None:
    """Raise ModelError unless an engine makes of a small image what the spec says: tasks, shapes, finite numbers."""
    rule = f"does not run on {len(spec.sources)} sources in {spec.dimensions}, as it says"
    remedy = "train or export it again, or choose another model"
    shape = tried_shape(spec)
    with reading("model", spec.name or None, rule, remedy, kind=ModelError, passing=(Cancelled, OutOfMemory)):
        made = engine.run(np.zeros(shape, np.float32), token)
        for output in spec.outputs:
            values, wanted = made[output.task], output_shape(output, shape)
            if values.shape != wanted:
                wrong = f"gives {output.task} the shape {values.shape}, and what it says needs {wanted}"
                raise ModelError("model", spec.name or None, wrong, remedy)
            if not np.isfinite(values).all():
                wrong = f"gives {output.task} values that are not finite"
                raise ModelError("model", spec.name or None, wrong, remedy)


def installed_engines() -> tuple[EngineName, ...]:
    """Return the engines that are installed; none of them is imported."""
    return tuple(name for name in _REMEDIES if find_spec(name) is not None)


@dataclass(frozen=True)
class _Loader:
    """A model, and how to make it run."""

    model: "nn.Module | Path | str"
    spec: ModelSpec
    threads: int
    compiled: bool
    token: CancelToken

    def candidates(self, engine: EngineName, device: str, precision: Precision) -> Iterator[Candidate]:
        """Yield the ways to run the model that fit what was asked for."""
        if device != "auto":
            device_index(device)
        engines = self._engines() if engine is EngineName.AUTO else [_installed(engine)]
        precisions = [Precision.FLOAT32, Precision.BFLOAT16] if precision is Precision.AUTO else [precision]
        found = [
            Candidate(name, place, kind)
            for name in engines
            for place in (self._devices(name) if device == "auto" else [device])
            for kind in precisions
            if engine is not EngineName.AUTO or _fits(name, place, kind)
        ]
        if not found:
            rule = f"no installed engine computes in {precision} there"
            raise SettingsError("device", device, rule, "choose auto")
        yield from found

    def build(self, candidate: Candidate, reason: str) -> Engine:
        """Return the candidate, loaded; a reduced precision says how far it is from float32."""
        if candidate.precision is not Precision.FLOAT32:
            exact = self._loaded(Candidate(candidate.engine, candidate.device, Precision.FLOAT32), "")
            error = reduced_error(self._loaded(candidate, ""), exact, self.spec)
            reason = f"{reason}; {candidate.precision} is {error:.1e} (relative RMS) off float32"
        engine = self._loaded(candidate, reason)
        if self._is_file:  # a network was run when it was trained, or loaded from its checkpoint
            check_outputs(engine, self.spec, self.token)
        return engine

    @cached_property
    def architecture(self) -> str:
        """What makes two models equally fast: their layers and sizes, not their weights."""
        if self._is_file:
            from napari_vstain.core.models.files.onnx_file import load_model

            graph = load_model(str(self.model)).graph
            sizes = [list(tensor.dims) for tensor in graph.initializer]
            text = repr([sizes, [node.op_type for node in graph.node]])
        else:
            text = repr(self.model)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def surroundings(self) -> list[object]:
        """What else decides which engine is the fastest."""
        return [_versions(), cpu_model(), self.threads, self.compiled, probe(self.spec).shape]

    @property
    def _is_file(self) -> bool:
        return isinstance(self.model, (str, Path))

    def _engines(self) -> list[EngineName]:
        return [name for name in installed_engines() if not (name is EngineName.TORCH and self._is_file)]

    def _devices(self, name: EngineName) -> list[str]:
        if name is not EngineName.OPENVINO and cuda_devices():
            return ["cuda"]
        if name is EngineName.TORCH and _has_mps():
            return ["mps"]
        return ["cpu"]

    def _loaded(self, candidate: Candidate, reason: str) -> Engine:
        if candidate.engine is EngineName.TORCH:
            return self._torch(candidate, reason)
        tasks = tuple(output.task for output in self.spec.outputs)
        if candidate.engine is EngineName.OPENVINO:
            if candidate.device != "cpu":
                raise SettingsError("device", candidate.device, "OpenVINO runs on the processor here", "choose cpu")
            from napari_vstain.core.engines.openvino_engine import OpenVinoEngine

            return OpenVinoEngine(self._content, tasks, candidate.precision, self.threads, reason)
        if candidate.precision is not Precision.FLOAT32:
            rule = "ONNX Runtime computes in float32 only"
            raise SettingsError("precision", candidate.precision, rule, "choose float32 or another engine")
        from napari_vstain.core.engines.ort_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(self._content, tasks, candidate.device, self.threads, reason)

    def _torch(self, candidate: Candidate, reason: str) -> Engine:
        if isinstance(self.model, (str, Path)):
            rule = "the torch engine runs checkpoints, not ONNX files"
            raise ModelError("model", Path(self.model), rule, "choose onnxruntime or openvino, or open the checkpoint")
        from napari_vstain.core.engines.torch_engine import TorchEngine
        from napari_vstain.core.models.onnx.trace import sample_shape

        tasks = tuple(output.task for output in self.spec.outputs)
        shape = sample_shape(self.spec)
        return TorchEngine(
            self.model, tasks, shape, candidate.device, candidate.precision, self.threads, self.compiled, reason
        )

    @cached_property
    def _content(self) -> bytes:
        if isinstance(self.model, (str, Path)):
            from napari_vstain.core.models.files.onnx_file import load_model, neutralise
            from napari_vstain.core.models.onnx.normalization import channels_first, open_axes

            model = channels_first(neutralise(load_model(self.model)), len(self.spec.sources))
            content: bytes = open_axes(model).SerializeToString()
            return content
        from napari_vstain.core.engines.exported import network_bytes

        return network_bytes(self.model, self.spec, self.token)


def _fits(engine: EngineName, device: str, precision: Precision) -> bool:
    """Return False for what an engine can never do, so that ``auto`` does not try it."""
    if engine is EngineName.OPENVINO:
        return device == "cpu"
    if engine is EngineName.ONNXRUNTIME:
        return precision is Precision.FLOAT32 and device != "mps"
    return True


def _installed(engine: EngineName) -> EngineName:
    if engine not in installed_engines():
        raise DependencyError("engine", str(engine), "is not installed", _REMEDIES[engine])
    return engine


def _has_mps() -> bool:
    import torch

    return bool(torch.backends.mps.is_available())


def _choice(kind: type[Choice], field: str, value: str) -> Choice:
    try:
        return kind(value)
    except ValueError as error:
        raise SettingsError(field, value, f"is no {field}", f"choose one of {', '.join(kind)}") from error


def _versions() -> list[str]:
    found: list[str] = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
