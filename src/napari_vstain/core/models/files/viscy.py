"""Checkpoints of VisCy's 2D U-Net predict here as they do there, without VisCy, given their configuration."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from napari_vstain.core.errors import ModelError
from napari_vstain.core.files import reading
from napari_vstain.core.models.files.checkpoint import load_weights, read_checkpoint, weights_digest
from napari_vstain.core.models.networks import network_config
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.receptive_field.field import ReceptiveField
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import ModelSpec, Normalization, OutputSpec, Statistics
from napari_vstain.core.models.viscy_unet import VisCyUNet2D
from napari_vstain.core.yaml_text import read_text, read_yaml

PREFIX = "model."
"""What the names of the weights begin with in a VisCy checkpoint."""
NORMALIZED = Statistics(mean=0, std=1, median=0, iqr=1)
"""Statistics of a target whose own are unknown: it is predicted in normalized units, as VisCy does."""
_LEVELS = {"dataset_statistics": "dataset", "fov_statistics": "fov", "timepoint_statistics": "timepoint"}
_REMEDY = "give the configuration that VisCy trained or predicted with"


def load_viscy(checkpoint: Path | str, config: Path | str | Mapping[str, Any]) -> tuple[ModelSpec, nn.Module]:
    """Return the spec and the network of a VisCy ``VSUNet`` checkpoint of the 2D kind.

    Parameters
    ----------
    checkpoint : path
        Lightning's file.
    config : path or mapping
        VisCy's own configuration (``model``, and ``data`` with ``source_channel``, ``target_channel`` and
        ``normalizations``), or the same said flatly: ``model``, ``source_channel``, ``prediction_channels``,
        ``source_normalization`` and, optionally, ``target_normalization``. ``normalization`` may hold the plate's
        statistics, in VisCy's layout; targets whose statistics or normalization are not given are predicted in
        normalized units.

    Raises
    ------
    ModelError
        When the checkpoint or the configuration cannot be read, is of another kind, or they do not fit together.
    """
    where = None if isinstance(config, Mapping) else Path(config)
    values = config if isinstance(config, Mapping) else _read(Path(config))
    with reading("VisCy configuration", where, "does not say what is needed", _REMEDY, kind=ModelError):
        arguments, data = _network_arguments(values), _data(values)
    with reading("VisCy model_config", None, "does not fit", _REMEDY, kind=ModelError):
        network = VisCyUNet2D(**arguments)
    state = read_checkpoint(checkpoint).get("state_dict")
    load_weights(network, state, PREFIX, Path(checkpoint))
    field = receptive_field(network)
    with reading("VisCy configuration", where, "does not say what is needed", _REMEDY, kind=ModelError):
        spec = _spec(data, network, field, arguments, Path(checkpoint).stem)
    return spec.model_copy(update={"weights": weights_digest(network.state_dict())}), network.eval()


def _read(path: Path) -> Mapping[str, Any]:
    field = "VisCy configuration"
    if path.suffix == ".json":
        text = read_text(path, field, ModelError)
        with reading(field, path, "is no JSON", "give a YAML or JSON file", kind=ModelError):
            values = json.loads(text)
    else:
        values = read_yaml(path, field, ModelError)
    if not isinstance(values, Mapping):
        raise ModelError("VisCy configuration", path, "holds no `name: value` lines", _REMEDY)
    return values


def _network_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    model = values.get("model")
    arguments = model.get("init_args", model) if isinstance(model, Mapping) else {}
    architecture = arguments.get("architecture")
    if architecture != "2D":
        raise ModelError("VisCy architecture", architecture, "only '2D' can be predicted with here", _REMEDY)
    return dict(arguments.get("model_config") or {})


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return channels, normalizations and statistics, said flatly."""
    if "source_channel" in values:
        return dict(values)
    data = values.get("data")
    arguments = dict(data.get("init_args", data)) if isinstance(data, Mapping) else {}
    normalizations = [entry.get("init_args", {}) for entry in arguments.get("normalizations") or []]
    return {
        "source_channel": arguments.get("source_channel"),
        "prediction_channels": arguments.get("target_channel"),
        "source_normalization": _of_channels(normalizations, arguments.get("source_channel")),
        "target_normalization": _of_channels(normalizations, arguments.get("target_channel")),
        "normalization": values.get("normalization"),
    }


def _of_channels(normalizations: list[Any], channels: object) -> Any:
    names = set(_names(channels))
    found = [entry for entry in normalizations if names & set(_names(entry.get("keys")))]
    return found[0] if found else None


def _spec(
    data: Mapping[str, Any], network: VisCyUNet2D, field: ReceptiveField, arguments: Mapping[str, Any], name: str
) -> ModelSpec:
    sources = _names(data.get("source_channel"))
    targets = tuple(name.removesuffix("_prediction") for name in _names(data.get("prediction_channels")))
    _check_channels("source", sources, network.in_channels)
    _check_channels("target", targets, network.out_channels)
    plate = data.get("normalization") or {}
    source = _normalization(data.get("source_normalization"))
    known = {channel: _statistics(plate, channel) for channel in sources}
    if source.level == "dataset" and None in known.values():
        raise ModelError("VisCy configuration", None, "has no dataset statistics of the source channel", _REMEDY)
    in_units = data.get("target_normalization") if all(_statistics(plate, target) for target in targets) else None
    known |= {target: _statistics(plate, target) if in_units else NORMALIZED for target in targets}
    return ModelSpec(
        name=name,
        sources=sources,
        outputs=(OutputSpec(channels=targets),),
        stride=field.stride,
        halo=field.halo,
        tile_exact=field.tile_exact,
        border="zeros",
        source_normalization=source,
        target_normalization=_normalization(in_units).model_copy(update={"level": "dataset"}),
        statistics={channel: statistics for channel, statistics in known.items() if statistics},
        config=network_config(network, **arguments),
        training=Training(made_by="VisCy"),
    )


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, Iterable) else ()


def _check_channels(role: str, names: tuple[str, ...], wanted: int) -> None:
    if len(names) != wanted:
        raise ModelError(f"VisCy {role} channels", ", ".join(names), f"the network has {wanted}", _REMEDY)


def _normalization(entry: Any) -> Normalization:
    if not entry:
        return Normalization()
    level = str(entry.get("level", "dataset_statistics"))
    values = {"level": _LEVELS.get(level, level)}
    values |= {"subtract": entry.get("subtrahend", "mean"), "divide": entry.get("divisor", "std")}
    return Normalization.parse(values)


def _statistics(plate: Mapping[str, Any], channel: str) -> Statistics | None:
    stored = (plate.get(channel) or {}).get("dataset_statistics")
    return Statistics.parse({key: stored[key] for key in Statistics.model_fields if key in stored}) if stored else None
