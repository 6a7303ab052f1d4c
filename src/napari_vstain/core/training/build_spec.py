"""What a model says of itself is known before its first batch: gathered from its network, its data and its settings."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.receptive_field.field import ReceptiveField
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import Dimensions, ModelSpec
from napari_vstain.core.models.tried_shapes import output_shape
from napari_vstain.core.novelty import PositionImage, calibrate
from napari_vstain.core.sentences import third_party
from napari_vstain.core.training.data import PatchDataModule

_PACKAGES = ("napari-vstain", "torch", "lightning", "numpy")
_CALIBRATED = 64
"""Positions that the look of an input is calibrated on, at most."""


def describe(network: nn.Module, config: Mapping[str, Any], data: PatchDataModule) -> ModelSpec:
    """Return all that a model says of itself, but its name and the digest of its weights.

    Raises
    ------
    SettingsError
        When network and data do not fit: channels, slices or the patch size.
    """
    dimensions = _dimensions(network, data.patches.z_window)
    # A stack that is projected is seen whole along Z, where nothing is left to measure: only Y and X are tiled.
    projects = dimensions is Dimensions.THREE and all(task.flat for task in data.tasks)
    field = receptive_field(network, Dimensions.WINDOW if projects else dimensions)
    _check_stride(field, data.patches.size_px)
    _check_fit(network, data, dimensions)
    spec = ModelSpec(
        sources=data.sources,
        outputs=tuple(task.head for task in data.tasks),
        dimensions=dimensions,
        z_window=data.patches.z_window if dimensions is not Dimensions.THREE else 1,
        stride=field.stride,
        halo=field.halo,
        tile_exact=field.tile_exact,
        source_normalization=data.source_normalization,
        target_normalization=data.scale.normalization,
        target_scale=dict(data.scale.fixed),
        statistics=data.statistics,
        spacing_um=data.spacing_um,
        config=dict(config),
        training=_origin(data),
        versions=_versions(),
    )
    return spec.model_copy(update={"novelty": calibrate(spec, _images(data))})


def _images(data: PatchDataModule) -> Iterator[PositionImage]:
    """Yield the sources of the positions that the model learns from and is chosen by; of many, some spread evenly."""
    keys = [*data.split.train, *(key for key in data.split.validate if key not in data.split.train)]
    step = -(-len(keys) // _CALIBRATED)
    return (PositionImage(data.dataset.position(key), data.sources) for key in keys[::step])


def _origin(data: PatchDataModule) -> Training:
    return Training(
        dataset=data.dataset.name,
        positions=data.split,
        target_normalization=data.scale.sentence,
        patches=data.patches.model_dump(mode="json"),
        batches_per_epoch=data.batches_per_epoch,
    )


def _dimensions(network: nn.Module, z_window: int) -> Dimensions:
    """Return the network's kind: as it says itself, else by its convolutions."""
    said = getattr(network, "dimensions", None)
    if said is not None:
        return Dimensions(said)
    if any(isinstance(module, nn.Conv3d) for module in network.modules()):
        return Dimensions.THREE
    return Dimensions.WINDOW if z_window > 1 else Dimensions.TWO


def _check_fit(network: nn.Module, data: PatchDataModule, dimensions: Dimensions) -> None:
    """Run the network on one empty patch."""
    depth = () if dimensions is Dimensions.TWO else (data.patches.z_window,)
    if dimensions is Dimensions.TWO and data.patches.z_window > 1:
        rule = "a 2D network takes one slice"
        raise SettingsError("slices of a patch", data.patches.z_window, rule, "set z_window to 1 or use a 2.5D network")
    size, mode = data.patches.size_px, network.training
    shape = (1, len(data.sources), *depth, size, size)
    rule, remedy = f"cannot take {len(data.sources)} sources of {size} px", "correct its channels, or the patch size"
    try:
        with third_party("network", type(network).__name__, rule, remedy, kind=SettingsError), torch.no_grad():
            made = network.eval()(torch.zeros(shape))
    finally:
        network.train(mode)
    heads = {task.head.task: task.head for task in data.tasks}
    given = {data.tasks[0].head.task: made} if isinstance(made, Tensor) else made
    if not isinstance(given, Mapping) or given.keys() != heads.keys():
        said = f"outputs {', '.join(map(str, given))}" if isinstance(given, Mapping) else type(made).__name__
        rule = f"returns {said if not isinstance(made, Tensor) else 'one output'} for the tasks {', '.join(heads)}"
        raise SettingsError("network", type(network).__name__, rule, "use a network that returns each task by its name")
    for task, values in given.items():
        wanted = output_shape(heads[task], shape)
        if tuple(values.shape) != wanted:
            rule = f"returns {tuple(values.shape)} for {len(heads[task].channels)} targets, which need {wanted}"
            raise SettingsError("network", type(network).__name__, rule, "correct its channels, or use another network")


def _check_stride(field: ReceptiveField, size: int) -> None:
    if size % field.stride[-1] or size % field.stride[-2]:
        stride = max(field.stride[-2:])
        rule = f"must be a multiple of the network's stride, {stride} px"
        raise SettingsError("patch size", f"{size} px", rule, f"choose {max(size // stride, 1) * stride}")


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES if _version(name)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
