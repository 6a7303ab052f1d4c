"""Torch runs a network where it was trained: on the processor, a CUDA device or Apple's; without Lightning."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import local
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_vstain.core.arrays import Array
from napari_vstain.core.engines.base import Engine, Precision
from napari_vstain.core.engines.devices import cpu_label, cpu_threads, device_index
from napari_vstain.core.engines.fold_batchnorm import folded, relative_rms
from napari_vstain.core.engines.footprint import network_footprint
from napari_vstain.core.engines.out_of_memory import memory_errors
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.progress import CancelToken

_TYPES = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}
_FOLDING_TOLERANCE = 1e-6
"""Relative RMS up to which folding batch normalization may change a prediction in float32."""


class TorchEngine(Engine):
    """A network in torch: a copy, so that training may go on meanwhile. It may be called from several threads.

    Parameters
    ----------
    network : torch.nn.Module
        Returns one tensor, or a dict by task.
    tasks : tuple of str
        Names of the outputs.
    sample : tuple of int
        A small shape that it takes, to check on it that folding changes nothing.
    device : str
        ``cpu``, ``cuda``, ``cuda:<number>`` or ``mps``.
    precision : {"float32", "bfloat16", "float16"}
        Reduced precisions go through torch's autocast, which keeps what needs float32 in it.
    threads : int, optional
        On the processor; every core when left out.
    compiled : bool
        Use `torch.compile`: slow at first, for each new shape, then faster on a CUDA device.

    Raises
    ------
    SettingsError
        When torch finds no such device.
    """

    name = "torch"

    def __init__(
        self,
        network: nn.Module,
        tasks: tuple[str, ...],
        sample: tuple[int, ...],
        device: str = "cpu",
        precision: str = Precision.FLOAT32,
        threads: int | None = None,
        compiled: bool = False,
        reason: str = "",
    ) -> None:
        self._device = _checked_device(device)
        self._threads = cpu_threads(threads)
        self.device = _label(self._device, self._threads)
        self.precision = str(precision)
        self.reason = reason
        self._tasks = tasks
        self._format = _format(network, len(sample))
        self._running, self._compiled = local(), compiled
        with _threads(self._threads):
            network = _channels_last(_faster(network, sample).requires_grad_(False).to(self._device))
        self._network = torch.compile(network, dynamic=True) if compiled else self._interruptible(network)

    def run(self, batch: Array, token: CancelToken | None = None) -> dict[str, Array]:
        """Return the outputs by task; see `Engine`. Interruptible between layers, unless compiled."""
        token = token or CancelToken()
        token.check()
        self._running.token = token
        try:
            with memory_errors(RuntimeError), self._context():
                source = torch.from_numpy(np.require(batch, np.float32, ["C", "W"]))
                made = self._network(source.to(self._device, memory_format=self._format))
                outputs = made if isinstance(made, dict) else {self._tasks[0]: made}
                return {task: _own(outputs[task], batch) for task in self._tasks}
        except MemoryError:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            raise
        finally:
            self._running.token = None

    def footprint(self, shape: tuple[int, ...]) -> float | None:
        """Return the bytes that it holds for each pixel of a batch of `shape`; None when it is compiled."""
        return None if self._compiled else network_footprint(self._network, shape, self._device)

    @property
    def free_memory_bytes(self) -> int | None:
        """Memory that the device may still give, torch's own reserve included; None where it is the computer's."""
        if self._device.type != "cuda":
            return None
        try:
            free, _ = torch.cuda.mem_get_info(self._device)
        except RuntimeError:
            return None
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(free + kept)

    @contextmanager
    def _context(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._device.type == "cpu":
                stack.enter_context(_threads(self._threads))
            if self._device.type == "cuda" and self.precision == Precision.FLOAT32:
                # TF32 would round to 10 bits what law 1 wants exact.
                stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
            if self.precision != Precision.FLOAT32:
                stack.enter_context(torch.autocast(self._device.type, _TYPES[Precision(self.precision)]))
            yield

    def _interruptible(self, network: nn.Module) -> nn.Module:
        for module in network.modules():
            if next(module.children(), None) is None:
                module.register_forward_pre_hook(self._check)
        return network

    def _check(self, _module: nn.Module, _inputs: Any) -> None:
        token = getattr(self._running, "token", None)
        if token is not None:
            token.check()


def _faster(network: nn.Module, sample: tuple[int, ...]) -> nn.Module:
    """Return a copy with batch normalization folded, unless that changes the prediction; on the processor."""
    plain, quick = copy.deepcopy(network).cpu().float().eval(), folded(network).cpu().float()
    batch = torch.randn(sample, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = _tensors(plain(batch)), _tensors(quick(batch))
    worst = max(relative_rms(a, b) for a, b in zip(found, expected, strict=True))
    return quick if worst <= _FOLDING_TOLERANCE else plain


def _channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights out as the fastest kernels of every device read them; return the network."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in network.parameters():
        if tensor.dim() in layouts:
            tensor.data = tensor.data.contiguous(memory_format=layouts[tensor.dim()])
    return network


def _format(network: nn.Module, rank: int) -> torch.memory_format:
    if rank == 4:
        return torch.channels_last
    volumes = any(isinstance(module, nn.Conv3d) for module in network.modules())
    return torch.channels_last_3d if volumes else torch.contiguous_format


def _tensors(made: torch.Tensor | dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return list(made.values()) if isinstance(made, dict) else [made]


def _own(tensor: torch.Tensor, batch: Array) -> Array:
    array: Array = tensor.float().contiguous().cpu().numpy()
    return array.copy() if np.may_share_memory(array, batch) else array


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with `count` threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _checked_device(device: str) -> torch.device:
    index = device_index(device)
    kind = device.partition(":")[0]
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if index >= found[kind]:
        raise SettingsError("device", device, "torch finds no such device", "choose cpu")
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


def _label(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return cpu_label(threads) if device.type == "cpu" else "Apple GPU (MPS)"
