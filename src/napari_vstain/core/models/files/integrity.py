"""A checkpoint is what it says: its weights are the described ones, finite, and its network does what is described."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.models.receptive_field.field import ReceptiveField, UnknownLayer
from napari_vstain.core.models.receptive_field.layer_walk import walk_layers
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.models.tried_shapes import output_shape, tried_shape

_COPY = "copy the file again from where it came, or choose another model"
_AGAIN = "train it again, or choose another model"


def check_tensors(state: Mapping[str, object], path: Path) -> None:
    """Raise ModelError unless every value is a plain tensor that is no larger than what the file holds.

    A tensor of a few bytes may claim any size by repeating them.
    """
    most, size = 4 * path.stat().st_size + 2**20, 0
    for name, value in state.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        if not (plain and not value.is_quantized):  # type: ignore[attr-defined]
            raise ModelError("checkpoint", path, f"its {name} is no plain tensor", _AGAIN)
        size += value.numel() * value.element_size()  # type: ignore[attr-defined]
        if size > most:
            raise ModelError("checkpoint", path, f"its {name} claims to be larger than the file", _COPY)


def check_numbers(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise ModelError when a weight is complex, no number of the network's kind, or not finite."""
    for name, value in wanted.items():
        given = weights[name]
        if given.dtype.is_complex or given.dtype.is_floating_point != value.dtype.is_floating_point:
            rule = f"its {name} holds {_kind(given)}, and the network takes {_kind(value)}"
            raise ModelError("checkpoint", path, rule, _AGAIN)
        if given.dtype.is_floating_point and not bool(torch.isfinite(given.float()).all()):
            raise ModelError("checkpoint", path, f"its {name} holds values that are not finite", _AGAIN)


def check_digest(said: str, found: str, path: Path) -> None:
    """Raise ModelError when the weights are not those that the file describes; files of before say nothing."""
    if said and said != found:
        rule = f"its weights are not those that it describes (their digest is {found}, not {said})"
        raise ModelError("checkpoint", path, rule, _COPY)


def check_network(network: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Raise ModelError unless the network takes and gives what is said of it, as far as its layers and a try tell."""
    rule = f"its network does not run on {len(spec.sources)} sources in {spec.dimensions}, as it says"
    with reading("checkpoint", path, rule, _AGAIN, kind=ModelError), torch.no_grad():
        sample = torch.zeros(tried_shape(spec))
        made = network.eval()(sample)
        given = dict(made) if isinstance(made, Mapping) else {spec.outputs[0].task: made}
        wrong = _wrong_outputs(given, spec, tuple(sample.shape))
    if wrong:
        raise ModelError("checkpoint", path, wrong, _AGAIN)
    try:
        field = walk_layers(network, spec.dimensions)
    except UnknownLayer:
        return
    if wrong := _wrong_field(field, spec):
        raise ModelError("checkpoint", path, wrong, _AGAIN)


def _wrong_outputs(given: Mapping[str, Tensor], spec: ModelSpec, taken: tuple[int, ...]) -> str:
    """Return what is wrong with the outputs for an input of a shape; empty when nothing is."""
    if given.keys() != {output.task for output in spec.outputs}:
        said = ", ".join(output.task for output in spec.outputs)
        return f"its network gives {len(given)} outputs ({', '.join(map(str, given))}), and it says {said}"
    for output in spec.outputs:
        made, wanted = given[output.task], output_shape(output, taken)
        if tuple(made.shape) != wanted:
            return f"its network gives {output.task} the shape {tuple(made.shape)}, and what it says needs {wanted}"
        if not bool(torch.isfinite(made).all()):
            return f"its network gives {output.task} values that are not finite"
    return ""


def _wrong_field(field: ReceptiveField, spec: ModelSpec) -> str:
    """Return what is wrong with the stride and the halo that a file says; a larger halo only costs time."""
    if any(said % true for said, true in zip(spec.stride, field.stride, strict=True)):
        return f"it says that its stride is {spec.stride} px, and its network's is {field.stride}"
    if spec.tile_exact and not field.tile_exact:
        return "it says that tiles are exact, and its network looks across the whole image"
    if field.tile_exact and any(said < true for said, true in zip(spec.halo, field.radius, strict=True)):
        return f"it says that its halo is {spec.halo} px, and its network looks {field.radius} px far"
    return ""


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
