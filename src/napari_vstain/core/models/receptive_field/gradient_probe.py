"""A receptive field measured: gradients say which pixels an output depends on, shifts say on which grid.

A branch that its images never open is not seen: what is known from here only is an estimate.
"""

import copy
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.receptive_field.field import ReceptiveField
from napari_vstain.core.models.spec import Dimensions

MAX_STRIDE = 64
"""The largest total stride that is looked for, in pixels."""
MAX_LENGTH = 4096
"""A network that sees further than about half of this is taken to see the whole image, in pixels."""
_MASS = 0.9999
"""Share of the gradient that the estimated radius of a network that sees the whole image holds."""
_EQUAL = 1e-9
"""Relative difference below which two predictions are the same in double precision."""
_RUNNING = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)
"""What a network raises that cannot take an image."""


def probe_gradients(network: nn.Module, dimensions: Dimensions | str = Dimensions.TWO) -> ReceptiveField:
    """Return how far a network looks, measured on a copy of it in double precision.

    All its weights are replaced by positive ones, and the maximum of a window by its mean, so that nothing
    cancels and nothing is cut off; every phase of the stride is looked at.

    Raises
    ------
    ModelError
        When the network cannot run on an image.
    """
    dimensions, twin = Dimensions(dimensions), _positive_twin(network)
    axes = (-3, -2, -1) if dimensions is Dimensions.THREE else (-2, -1)
    spectator = _Spectator()
    with spectator:
        measured = [_along(twin, axis, dimensions) for axis in axes]
    (rz, sz, ez), (ry, sy, ey), (rx, sx, ex) = [(0, 1, True)] * (3 - len(axes)) + measured
    return ReceptiveField((rz, ry, rx), (sz, sy, sx), ez and ey and ex and not spectator.saw_space_norm)


class _Spectator(TorchFunctionMode, AbstractContextManager["_Spectator"]):
    """Takes a window's mean for its maximum, and steps over norms across space, remembering that it saw one."""

    def __init__(self) -> None:
        super().__init__()
        self.saw_space_norm = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in _SPACE_NORMS:
            self.saw_space_norm = self.saw_space_norm or _uses_the_image(function, args, kwargs)
            return args[0]
        if function in _MEANS:
            return _MEANS[function](*_mean_arguments(*args, **kwargs))
        return function(*args, **kwargs)


_SPACE_NORMS = (functional.instance_norm, functional.group_norm, functional.batch_norm)
_MEANS = {
    getattr(functional, f"{name}{axes}d"): getattr(functional, f"avg_pool{axes}d")
    for name in ("max_pool", "_max_pool", "boolean_max_pool")
    for axes in (1, 2, 3)
    if hasattr(functional, f"{name}{axes}d")
}


def _uses_the_image(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if a norm takes its statistics from the image rather than from training."""
    if function is functional.batch_norm:
        return bool(args[5] if len(args) > 5 else kwargs.get("training", False))
    if function is functional.instance_norm:
        return bool(args[5] if len(args) > 5 else kwargs.get("use_input_stats", True))
    return True


def _mean_arguments(
    source: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, *_: Any, **__: Any
) -> tuple[Any, ...]:
    return source, kernel_size, stride or kernel_size, padding


def _positive_twin(network: nn.Module) -> nn.Module:
    """Return a copy in double precision whose weights are positive and keep intensities near one."""
    twin = copy.deepcopy(network).cpu().double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            inputs = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 1
            parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype).add(0.5) / inputs)
    return twin.requires_grad_(False)


def _along(network: nn.Module, axis: int, dimensions: Dimensions) -> tuple[int, int, bool]:
    """Return (radius, stride, exact) along one axis, on strips that grow until the network sees no end of them."""
    length = 256
    while True:
        strip = _Strip(network, axis, length, dimensions)
        stride, commutes = strip.stride()
        reach, seen_whole = strip.reach(stride)
        settled = not seen_whole and (commutes or reach <= strip.margin)
        if settled or 2 * length > MAX_LENGTH:
            return reach, stride, commutes and not seen_whole
        length *= 2


class _Strip:
    """An image that is long along one axis and as narrow as the network allows along the others."""

    def __init__(self, network: nn.Module, axis: int, length: int, dimensions: Dimensions) -> None:
        self.network, self.axis, self.length = network, axis, length
        self.middle = slice(length // 8 * 3, length // 8 * 5)
        self.margin = self.middle.start - MAX_STRIDE
        self.shape = self._shape(dimensions)

    def stride(self) -> tuple[int, bool]:
        """Return the smallest shift that the network commutes with, and whether there is one."""
        image = self._noise(self.length + MAX_STRIDE)
        still = self._predict(image.narrow(self.axis, 0, self.length))
        start, count = self.middle.start, self.middle.stop - self.middle.start
        errors = {}
        for shift in range(1, MAX_STRIDE + 1):
            moved = self._predict(image.narrow(self.axis, shift, self.length)).narrow(self.axis, start, count)
            here = still.narrow(self.axis, start + shift, count)
            errors[shift] = float((moved - here).abs().max() / here.abs().max())
            if errors[shift] < _EQUAL:
                return shift, True
        return min((2**power for power in range(7)), key=errors.__getitem__), False

    def reach(self, stride: int) -> tuple[int, bool]:
        """Return the furthest that an output pixel sees, over all phases, and whether that is to the image's ends."""
        middle = self.length // 2 // stride * stride
        reaches = [self._reach_of(middle + phase) for phase in range(stride)]
        return max(reach for reach, _ in reaches), any(seen for _, seen in reaches)

    def _reach_of(self, pixel: int) -> tuple[int, bool]:
        image = self._noise(self.length).requires_grad_()
        with torch.enable_grad():
            output = _joined(self.network(image)).narrow(self.axis, pixel, 1).sum()
        (gradient,) = torch.autograd.grad(output, image)
        along = gradient.abs().movedim(self.axis, 0).flatten(1).sum(1)
        seen = torch.nonzero(along).flatten()
        distances = (torch.arange(self.length) - pixel).abs()
        if seen[0] > 0 and seen[-1] < self.length - 1:
            return int(distances[seen].max()), False
        order = distances.argsort(stable=True)
        held = torch.cumsum(along[order], 0) / along.sum()
        return int(distances[order][held >= _MASS][0]), True

    def _predict(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            return _joined(self.network(image))

    def _noise(self, length: int) -> Tensor:
        shape = list(self.shape)
        shape[self.axis] = length
        generator = torch.Generator().manual_seed(length)
        return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5

    def _shape(self, dimensions: Dimensions) -> tuple[int, ...]:
        """Return the narrowest image that the network takes and returns in the same size."""
        problem = ""
        for width in (32, 64, 128, 256):
            for shape in _shapes(self.network, width, dimensions):
                self.shape = shape
                try:
                    made = self._predict(self._noise(self.length))
                except _RUNNING as error:
                    problem = problem or " ".join(str(error).split())[:200]
                    continue
                if made.shape[self.axis] == self.length:
                    return shape
        rule = problem or "it returns images of another size than it takes"
        raise ModelError("network", type(self.network).__name__, f"cannot be run on an image ({rule})", "use another")


def _shapes(network: nn.Module, width: int, dimensions: Dimensions) -> Iterable[tuple[int, ...]]:
    channels = _in_channels(network)
    if dimensions is Dimensions.TWO:
        yield (1, channels, width, width)
    else:
        depths = [int(getattr(network, "z_window", 1))] if dimensions is Dimensions.WINDOW else [8, 16, 32]
        yield from ((1, channels, depth, width, width) for depth in depths)


def probe_shape(network: nn.Module, dimensions: Dimensions) -> tuple[int, ...]:
    """Return the shape of a small image that a network takes, (B, C, Y, X) or (B, C, Z, Y, X).

    Raises
    ------
    ModelError
        When there is none.
    """
    return _Strip(_positive_twin(network), -1, 256, dimensions).shape


def _in_channels(network: nn.Module) -> int:
    """Return how many channels a network takes: as it says itself, or as its first convolution does."""
    said = getattr(network, "in_channels", None)
    if isinstance(said, int):
        return said
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return int(module.in_channels)
    return 1


def _joined(output: Any) -> Tensor:
    """Return every output of a network as one tensor, channels stacked."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output
    return torch.cat(list(values), dim=1)
