"""An ONNX file is what it says: its graph is the exported one, finite, of a bounded size, and fits its description."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.models.spec import Dimensions, ModelSpec

DIGEST_KEY = "vstain_digest"
"""Where in an ONNX file's metadata the digest of its graph and its ModelSpec stands."""
_MOST_NODES = 50_000
MOST_MADE = 2**27
"""Values that one node may make of constants alone: the runtime makes them as it loads the file."""
_WEIGHTED = frozenset({
    "Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "InstanceNormalization", "LayerNormalization",
    "GroupNormalization",
})  # fmt: skip
"""Nodes whose numbers are weights, which are finite; others have infinite limits for good reasons."""
_AGAIN = "export or copy it again, or choose another model"


def model_digest(model: Any, spec: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of a model's graph and of its ModelSpec, as JSON."""
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True))
    digest.update(spec.encode())
    return digest.hexdigest()[:16]


def check_graph_digest(model: Any, spec: str, path: Path) -> None:
    """Raise ModelError when graph or description are not those that were exported; files of before say nothing."""
    said = next((entry.value for entry in model.metadata_props if entry.key == DIGEST_KEY), "")
    if said and said != (found := model_digest(model, spec)):
        rule = f"its network or its description was changed after the export (its digest is {found}, not {said})"
        raise ModelError("model", path, rule, _AGAIN)


def check_graph(model: Any, path: Path) -> None:
    """Raise ModelError for a graph that is larger than any, or holds numbers that are none."""
    with reading("model", path, "has a graph that cannot be read", _AGAIN, kind=ModelError):
        if _expanded(model) > _MOST_NODES:
            raise ModelError("model", path, f"has more than {_MOST_NODES:,} nodes, or a function of itself", _AGAIN)
        tensors = _constants(model)
        for node in _nodes(model.graph):
            _check_node(node, tensors, path)
        for name, values in tensors.items():
            if values.dtype.kind in "fc" and np.isnan(values).any():
                raise ModelError("model", path, f"its {name} holds values that are no number", _AGAIN)


def check_description(model: Any, spec: ModelSpec, path: Path) -> None:
    """Raise ModelError when the graph's inputs and outputs are not those of the spec, as far as they are declared."""
    constants = {tensor.name for tensor in model.graph.initializer}
    image = next((value for value in model.graph.input if value.name not in constants), None)
    sizes = [] if image is None else [axis.dim_value for axis in image.type.tensor_type.shape.dim]
    rank = 4 if spec.dimensions is Dimensions.TWO else 5
    if len(sizes) != rank or sizes[1] not in (0, len(spec.sources)):
        rule = f"takes {sizes} (0: any size), and says that it takes {len(spec.sources)} sources in {spec.dimensions}"
        raise ModelError("model", path, rule, _AGAIN)
    given = [value.name for value in model.graph.output]
    if given != (said := [output.task for output in spec.outputs]):
        rule = f"gives {', '.join(given)}, and says that it gives {', '.join(said)}"
        raise ModelError("model", path, rule, _AGAIN)


def _check_node(node: Any, tensors: dict[str, Any], path: Path) -> None:
    known = [tensors.get(name) for name in node.input]
    if node.op_type in _WEIGHTED:
        for name, values in zip(node.input, known, strict=True):
            if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ModelError("model", path, f"its {name} holds values that are not finite", _AGAIN)
    made = 1.0
    if node.op_type == "ConstantOfShape" and known[0] is not None:
        made = float(np.prod(known[0], dtype=np.float64))
    elif node.op_type in ("Expand", "Tile") and known[0] is not None and known[1] is not None:
        factor = float(np.prod(known[1], dtype=np.float64))
        made = factor if node.op_type == "Expand" else factor * known[0].size
    elif node.op_type == "Range" and not any(value is None for value in known):
        start, limit, step = (float(np.ravel(np.asarray(value))[0]) for value in known)
        made = abs(limit - start) / max(abs(step), 1e-30)
    if not made <= MOST_MADE:
        raise ModelError("model", path, f"its node {node.name or node.op_type} makes {made:.3g} values", _AGAIN)


def _expanded(model: Any) -> int:
    """Return how many nodes a model has once its functions stand where they are called; too many for a circle."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(graph: Any, depth: int) -> int:
        total = 0
        for node in _nodes(graph):
            key = (node.domain, node.op_type)
            if key in functions and key not in sizes:
                sizes[key] = _MOST_NODES + 1 if depth > len(functions) else size(functions[key], depth + 1)
            total = min(total + sizes.get(key, 1), _MOST_NODES + 1)
            if total > _MOST_NODES:
                break
        return total

    return size(model.graph, 0)


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield every node, those of the branches and loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _nodes(inner)


def _constants(model: Any) -> dict[str, Any]:
    """Return every constant by name: the initializers, and what constant nodes hold."""
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in _nodes(model.graph):
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found
