"""An ONNX file holds a network, its normalization and its ModelSpec: the file alone is enough to predict."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import atomically, reading
from napari_vstain.core.models.files.onnx_integrity import (
    DIGEST_KEY,
    check_description,
    check_graph,
    check_graph_digest,
    model_digest,
)
from napari_vstain.core.models.onnx.normalization import CONSTANTS, SOURCE, neutralise, normalize
from napari_vstain.core.models.spec import ModelSpec, parse_spec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CONSTANTS", "SOURCE", "export_onnx", "has_spec", "load_model", "neutralise", "read_spec", "trace_network"]

OPSET = 18
METADATA_KEY = "vstain"
"""Where in an ONNX file's metadata the ModelSpec stands, as JSON."""


def export_onnx(
    network: "nn.Module", spec: ModelSpec, path: Path | str, *, normalized: bool = True, opset: int = OPSET
) -> Path:
    """Write a network and all that its model says of itself to one ONNX file, atomically; return its path.

    Parameters
    ----------
    network : torch.nn.Module
        Takes normalized sources, float32 (B, C, Y, X) or (B, C, Z, Y, X); returns one tensor, or a dict by task.
    spec : ModelSpec
        Written as JSON to ``metadata_props["vstain"]``.
    path : path
        The file, which is replaced.
    normalized : bool
        Put the normalization into the graph (see `onnx_graph.normalize`), so that intensities in the channels' own
        units go in and come out. False: the file takes and gives normalized intensities.
    opset : int
        The version of the ONNX operators.

    Raises
    ------
    ModelError
        When the network cannot be exported.
    ChannelError
        When the spec lacks a channel's statistics.
    StorageError
        When the file cannot be written.
    """
    model = trace_network(network, spec, opset)
    if normalized:
        model = normalize(model, spec)
    _attach(model, spec)
    content = _serialized(model)
    with atomically(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def trace_network(network: "nn.Module", spec: ModelSpec, opset: int = OPSET) -> Any:
    """Return the network alone as an `onnx.ModelProto`: normalized intensities in and out, no metadata.

    Raises
    ------
    ModelError
        When the network cannot be exported.
    """
    from napari_vstain.core.models.onnx.trace import trace

    return trace(network, spec, opset)


def load_model(path: Path | str) -> Any:
    """Return the `onnx.ModelProto` of a file.

    Raises
    ------
    ModelError
        When the file cannot be read, is truncated or is no ONNX model.
    """
    import onnx

    path = Path(path)
    if path.exists() and not path.is_file():
        raise _no_model(path)
    said = _no_model(path)
    with reading("model", path, said.rule, said.remedy, kind=ModelError, because=False):
        model = onnx.load(str(path))
    if not model.graph.node or not model.graph.output:
        raise _no_model(path)
    return model


def has_spec(path: Path | str) -> bool:
    """Return True if the ONNX file says of itself what it needs to predict: one of ours."""
    return _metadata(load_model(path)) is not None


def read_spec(path: Path | str) -> ModelSpec:
    """Return the ModelSpec that an ONNX file carries.

    Raises
    ------
    ModelError
        When the file is no ONNX model, carries no ModelSpec that this version can read, or its graph is not the one
        that was exported, holds no finite numbers, or takes or gives something else than the spec says. Files of
        before that carry no digest are taken as they are.
    """
    model = load_model(path)
    text = _metadata(model)
    if text is None:
        rule = "does not say which channels it takes and gives"
        raise ModelError("model", Path(path), rule, "name its source and target channels")
    path = Path(path)
    spec = parse_spec(text, "model", path)
    check_graph(model, path)
    check_description(model, spec, path)
    check_graph_digest(model, text, path)
    return spec


def _metadata(model: Any) -> str | None:
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), None)


def _attach(model: Any, spec: ModelSpec) -> None:
    from onnx import helper

    text = spec.model_dump_json()
    model.producer_name = "napari-vstain"
    model.graph.name = spec.name or "vstain"
    helper.set_model_props(model, {METADATA_KEY: text, DIGEST_KEY: model_digest(model, text)})


def _serialized(model: Any) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        content: bytes = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ModelError("network", None, "is larger than the 2 GB of one ONNX file", "use a smaller one") from error
    return content


def _no_model(path: Path | str) -> ModelError:
    return ModelError("model", Path(path), "is no ONNX model, or only part of one", "export or copy it again")
