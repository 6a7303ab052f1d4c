"""How much memory a network needs for each pixel: what it holds at once, layer by layer, at its worst moment."""

from math import prod
from typing import Any

from napari_vstain.core.models.onnx.onnx_nodes import shapes_of


def graph_footprint(content: bytes, shape: tuple[int, ...]) -> float | None:
    """Return the bytes that a serialized graph holds for each pixel of an input of `shape`, (B, C, [Z,] Y, X).

    Its weights, and what the layers need for themselves, are not counted. None when the size of a value is not known
    without running it.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    weights = {tensor.name for tensor in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in weights)
    for axis, length in zip(source.type.tensor_type.shape.dim, shape, strict=True):
        axis.dim_value = length
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    model.graph.ClearField("value_info")
    shapes = shapes_of(model)
    last = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
    held: dict[str, int] = {source.name: prod(shape)}
    worst = 0
    for index, node in enumerate(model.graph.node):
        images = [name for name in node.input if name in held]
        for name in filter(None, node.output):
            lengths = shapes.get(name)
            if node.op_type == "Shape" or not images:
                continue
            if lengths is None or None in lengths or not lengths:
                return None
            held[name] = prod(length for length in lengths if length is not None)
        worst = max(worst, sum(held.values()))
        outputs = {value.name for value in model.graph.output}
        for name in [name for name in held if last.get(name, -1) <= index and name not in outputs]:
            if name in node.input or name in node.output:
                del held[name]
    return 4.0 * worst / (prod(shape) / shape[1])


def network_footprint(network: Any, shape: tuple[int, ...], device: Any = "cpu") -> float:
    """Return the bytes that a torch network on `device` holds for each pixel of an input of `shape`: it is run once."""
    import weakref

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    held: dict[int, int] = {}
    worst = 0

    class Watch(TorchDispatchMode):
        """Counts every tensor from when it is made until nobody has it any more."""

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal worst
            made = function(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, (tuple, list)) else (made,):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    if storage.data_ptr() not in held:
                        held[storage.data_ptr()] = storage.nbytes()
                        weakref.finalize(tensor, held.pop, storage.data_ptr(), None)
            worst = max(worst, sum(held.values()))
            return made

    with torch.no_grad(), Watch():
        network(torch.zeros(shape, device=device))
    return worst / (prod(shape) / shape[1])
