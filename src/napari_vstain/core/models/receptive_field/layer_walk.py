"""A receptive field computed exactly: intervals of pixels are followed from the output back through every layer."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from napari_vstain.core.models.receptive_field.field import ReceptiveField, UnknownLayer
from napari_vstain.core.models.receptive_field.layer_axes import Layer, Linear, Nearest, Pointwise, Transposed, Window
from napari_vstain.core.models.receptive_field.reach import LayerStep, radius_and_stride
from napari_vstain.core.models.spec import Dimensions

POINTWISE_MODULES: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh,
    nn.Dropout, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
POINTWISE_FUNCTIONS = frozenset({
    "add", "iadd", "add_", "sub", "mul", "imul", "mul_", "truediv", "neg", "relu", "relu_", "leaky_relu", "elu", "gelu",
    "silu", "sigmoid", "tanh", "softplus", "dropout", "contiguous", "clone",
})  # fmt: skip
_TRACING = (TypeError, ValueError, AttributeError, RuntimeError, KeyError, IndexError, NotImplementedError)
"""What a network raises whose path depends on its input; `torch.fx`'s own TraceError is a ValueError."""


def walk_layers(network: nn.Module, dimensions: Dimensions) -> ReceptiveField:
    """Return how far a network looks, over every phase of its stride.

    Raises
    ------
    UnknownLayer
        When a layer is of a kind that is not known here, or the network's path depends on its input.
    """
    graph = _trace(network)
    axes = (-3, -2, -1) if dimensions is Dimensions.THREE else (-2, -1)
    fields = [(0, 1)] * (3 - len(axes)) + [_along(graph, network, axis) for axis in axes]
    (rz, sz), (ry, sy), (rx, sx) = fields
    return ReceptiveField((rz, ry, rx), (sz, sy, sx), not any(map(_looks_across, network.modules())))


def _along(graph: fx.Graph, network: nn.Module, axis: int) -> tuple[int, int]:
    """Return the radius and the total stride along one axis."""
    source = next(node.name for node in graph.nodes if node.op == "placeholder")
    steps: list[LayerStep] = []
    outputs: list[str] = []
    for node in graph.nodes:
        read = tuple(before.name for before in node.all_input_nodes)
        if node.op == "output":
            outputs += read
        elif node.op != "placeholder":
            steps.append(LayerStep(node.name, read, _layer(node, network, axis)))
    return radius_and_stride(source, steps, outputs)


def _layer(node: fx.Node, network: nn.Module, axis: int) -> Layer:
    if node.op == "call_module" and node.all_input_nodes:
        return _module(network.get_submodule(str(node.target)), axis)
    if node.op in ("call_function", "call_method") and node.all_input_nodes:
        return _function(node)
    raise UnknownLayer(f"{node.op} {node.target}")


def _module(module: nn.Module, axis: int) -> Layer:
    if getattr(module, "pointwise", False):
        return Pointwise()
    for kinds, layer in _MODULES:
        if isinstance(module, kinds):
            return layer(module, axis)
    raise UnknownLayer(type(module).__name__)


def _function(node: fx.Node) -> Layer:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name in POINTWISE_FUNCTIONS or (name in ("cat", "concat") and _joins_channels(node)):
        return Pointwise()
    raise UnknownLayer(str(name))


def _joins_channels(node: fx.Node) -> bool:
    return bool((node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)) == 1)


def _window(module: Any, axis: int) -> Layer:
    kernel = _axis(module.kernel_size, axis)
    stride = _axis(module.stride or module.kernel_size, axis)
    dilation = _axis(getattr(module, "dilation", 1), axis)
    if module.padding == "same":
        return Window(kernel, stride, dilation * (kernel - 1) // 2, dilation)
    return Window(kernel, stride, 0 if module.padding == "valid" else _axis(module.padding, axis), dilation)


def _transposed(module: Any, axis: int) -> Layer:
    kernel, stride, padding, dilation = (
        _axis(value, axis) for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    return Transposed(kernel, stride, padding, dilation)


def _upsampling(module: Any, axis: int) -> Layer:
    factor = _axis(module.scale_factor, axis) if module.scale_factor else 0
    if factor != int(factor) or factor < 1 or module.align_corners:
        raise UnknownLayer("Upsample")
    if module.mode.startswith("nearest"):
        return Nearest(int(factor))
    if module.mode in ("linear", "bilinear", "trilinear"):
        return Linear(int(factor)) if factor > 1 else Pointwise()
    raise UnknownLayer(f"Upsample {module.mode}")


def _axis(value: Any, axis: int) -> Any:
    if not isinstance(value, Iterable):
        return value
    values = tuple(value)
    if len(values) < -axis:
        raise UnknownLayer("a layer of fewer dimensions")
    return values[axis]


def _pointwise(module: nn.Module, axis: int) -> Layer:
    return Pointwise()


_MODULES: tuple[tuple[Any, Callable[[Any, int], Layer]], ...] = (
    (_ConvTransposeNd, _transposed),
    ((_ConvNd, _MaxPoolNd, _AvgPoolNd), _window),
    (nn.Upsample, _upsampling),
    ((*POINTWISE_MODULES, _BatchNorm, _InstanceNorm, nn.GroupNorm), _pointwise),
)


def _looks_across(module: nn.Module) -> bool:
    """Return True for a normalization by the statistics of the image in front of it."""
    if isinstance(module, (_BatchNorm, _InstanceNorm)):
        return not module.track_running_stats
    return isinstance(module, nn.GroupNorm)


class _Tracer(fx.Tracer):
    """Keeps our reshaping of Z whole: it moves no pixel in Y and X."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return getattr(m, "pointwise", False) or super().is_leaf_module(m, module_qualified_name)


def _trace(network: nn.Module) -> fx.Graph:
    try:
        return _Tracer().trace(network)
    except _TRACING as error:
        raise UnknownLayer(f"{type(network).__name__}: {error}") from error
