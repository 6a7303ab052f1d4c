"""A network as the bytes of an ONNX graph, exported once: the same network comes from the cache the next time."""

import hashlib
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Thread, current_thread, main_thread
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from napari_vstain.core.errors import ModelError, StorageError
from napari_vstain.core.files import atomically, cache_folder
from napari_vstain.core.models.files.onnx_file import OPSET, load_model, trace_network
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.processes import python_command
from napari_vstain.core.progress import CancelToken

if TYPE_CHECKING:
    from torch import nn

_KEPT = 16
"""Exported networks that the cache holds; the longest unused go first."""
_STABLE = ("napari_vstain", "torch", "monai")
"""Packages whose layers do not change without their version (or their code, for ours) changing."""
_CHILD = f"import {__name__} as here; here.export_what_is_sent()"
_log = logging.getLogger(__name__)


def network_bytes(network: "nn.Module", spec: ModelSpec, token: CancelToken | None = None) -> bytes:
    """Return the serialized ONNX graph of a network alone: normalized intensities in and out.

    The export takes seconds of Python. From a job's thread it runs in a child process, so that it neither holds up
    the main thread nor outlives Stop.

    Raises
    ------
    Cancelled
        When `token` asked to stop meanwhile.
    ModelError
        When the network cannot be exported.
    """
    if not _cacheable(network):
        return _exported(network, spec)
    path = cache_folder("onnx") / f"{digest(network, spec)}.onnx"
    if current_thread() is main_thread():
        return _read(path) or _write(path, _exported(network, spec))
    return _read(path) or _write(path, _exported_in_child(network, spec, token or CancelToken()))


def export_what_is_sent() -> None:
    """Export the network that the parent process sends on standard input, and send it back on standard output.

    It ends with its parent: nobody else holds the other end of its standard input.
    """
    # Only our own parent holds the other end of this pipe, so that what is unpickled is what we pickled.
    network, spec = pickle.load(sys.stdin.buffer)
    Thread(target=_end_with_standard_input, name="vstain-parent", daemon=True).start()
    answer = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no part of the answer
    with os.fdopen(answer, "wb") as pipe:
        pipe.write(_exported(network, spec))


def _end_with_standard_input() -> None:
    os.read(0, 1)
    os._exit(1)


def digest(network: "nn.Module", spec: ModelSpec) -> str:
    """Return what tells a network and its exporter from every other: weights, layers, their code and settings."""
    made = hashlib.sha256()
    for part in _parts(network, spec):
        made.update(part)
    return made.hexdigest()[:24]


def _parts(network: "nn.Module", spec: ModelSpec) -> Iterator[bytes]:
    versions = [version(name) for name in ("napari-vstain", "torch", "onnxscript", "monai")]
    shape = [spec.dimensions, spec.z_window, spec.stride, len(spec.sources)]
    outputs = [[output.task, len(output.channels), output.scale] for output in spec.outputs]
    yield json.dumps([versions, OPSET, shape, outputs, spec.config], default=str).encode()
    yield repr(network).encode()
    for module in network.modules():
        plain = {key: value for key, value in vars(module).items() if isinstance(value, (int, float, str, tuple))}
        plain.pop("training", None)
        yield f"{type(module).__qualname__} {sorted(plain.items(), key=str)}".encode()
        for name, member in sorted(vars(type(module)).items()):
            if isinstance(member, FunctionType):
                yield f"{name} {_said_by(member.__code__)}".encode()
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        array = tensor.detach().cpu().contiguous().numpy()
        yield f"{name} {array.dtype} {array.shape}".encode()
        yield array.tobytes()


def _said_by(code: CodeType) -> str:
    """Return what a function does: its instructions, and the names and constants that they use."""
    return f"{code.co_code.hex()} {code.co_names} {[_constant(value) for value in code.co_consts]}"


def _constant(value: object) -> str:
    if isinstance(value, frozenset):  # in another order in each process
        return str(sorted(map(repr, value)))
    return _said_by(value) if isinstance(value, CodeType) else repr(value)


def _cacheable(network: "nn.Module") -> bool:
    return all(type(module).__module__.partition(".")[0] in _STABLE for module in network.modules())


def _exported(network: "nn.Module", spec: ModelSpec) -> bytes:
    content: bytes = trace_network(network, spec).SerializeToString()
    return content


def _exported_in_child(network: "nn.Module", spec: ModelSpec, token: CancelToken) -> bytes:
    token.check()
    process = subprocess.Popen(
        python_command("-c", _CHILD), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        forget = token.on_cancel(process.kill)
        try:
            with suppress(BrokenPipeError):  # it ended early: its exit code says so
                pickle.dump((network, spec), process.stdin)
                process.stdin.flush()
            content = process.stdout.read()
            code = process.wait()
        finally:
            forget()
            process.kill()
            with suppress(BrokenPipeError):
                process.stdin.close()
    token.check()
    if code == 0 and content:
        return content
    _log.warning("the export in a process of its own failed; it is made here")
    return _exported(network, spec)


def _read(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    try:
        model: Any = load_model(path)
    except ModelError:
        _log.warning("the cached network %s cannot be read; it is exported again", path)
        return None
    path.touch()
    content: bytes = model.SerializeToString()
    return content


def _write(path: Path, content: bytes) -> bytes:
    try:
        with atomically(path) as temporary:
            temporary.write_bytes(content)
        _prune(path.parent)
    except (StorageError, OSError) as error:
        _log.info("the exported network is not kept for the next time: %s", error)
    return content


def _prune(folder: Path) -> None:
    files = sorted(folder.glob("*.onnx"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_KEPT:]:
        path.unlink(missing_ok=True)
