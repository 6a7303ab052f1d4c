"""Models that were made elsewhere predict as they did there, once it is said what they take and give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.models.spec import ModelSpec, Normalization, Statistics
from napari_vstain.core.progress import CancelToken
from napari_vstain.core.settings import Settings

if TYPE_CHECKING:
    from torch import nn


class Elsewhere(Settings):
    """What a model that was made elsewhere does not say of itself."""

    config: Path | None = Field(
        None, title="VisCy configuration", description="Of a VisCy checkpoint: what it was trained with, YAML or JSON."
    )
    sources: tuple[str, ...] = Field(
        (), title="Sources", description="Of an ONNX file: its source channels, in its order."
    )
    targets: tuple[str, ...] = Field(
        (), title="Targets", description="Of an ONNX file: its target channels, in its order."
    )
    source_normalization: Normalization | None = Field(
        None, title="Normalization of sources", description="Before an ONNX file; nothing is changed when empty."
    )
    target_normalization: Normalization | None = Field(
        None, title="Normalization of targets", description="Undone after an ONNX file; nothing when empty."
    )
    statistics: dict[str, Statistics] = Field(
        {}, title="Statistics", description="By channel: of the data that the model was trained on."
    )
    spacing_um: tuple[float | None, float, float] | None = Field(
        None, title="Voxel size", description="Z, Y, X that the ONNX file was trained for, in micrometres."
    )


def fixed_numbers(channels: Sequence[str], offsets: Sequence[float], scales: Sequence[float]) -> dict[str, Statistics]:
    """Return statistics by which a channel becomes ``(x - offset) / scale``, from numbers that somebody knows.

    Parameters
    ----------
    offsets, scales : sequence of float
        One for each channel, or one for all, in the channels' units.

    Raises
    ------
    SettingsError
        When there are more or fewer, or one is not finite, or a scale is not above 0.
    """
    for name, numbers in (("offset", offsets), ("scale", scales)):
        if len(numbers) not in (1, len(channels)):
            rule = f"{len(numbers)} numbers for {len(channels)} channels"
            raise SettingsError(name, None, rule, "give one for all or one for each")
        _check_each(name, numbers, isfinite, "is not finite")
    _check_each("scale", scales, lambda scale: scale > 0, "is not above 0")
    several = [tuple(numbers) * (len(channels) // len(numbers)) for numbers in (offsets, scales)]
    return {
        channel: Statistics(mean=offset, median=offset, std=scale, iqr=scale)
        for channel, offset, scale in zip(channels, *several, strict=True)
    }


def _check_each(name: str, numbers: Sequence[float], holds: Callable[[float], bool], rule: str) -> None:
    for number in numbers:
        if not holds(number):
            raise SettingsError(name, number, rule, "give the number that the model was trained with")


@dataclass(frozen=True)
class Lacking:
    """What has to be said of a model file before it can predict."""

    path: Path
    what: Literal["channels", "config"]
    config: Path | None = None
    """The only configuration that lies beside a checkpoint, if there is one."""


def lacking(path: Path) -> Lacking | None:
    """Return what a model file does not say of itself; None when it is one of ours. Weights are not read.

    Raises
    ------
    ModelError
        When it is no model, or is damaged.
    """
    if path.suffix == ".onnx":
        from napari_vstain.core.models.files.onnx_file import has_spec

        return None if has_spec(path) else Lacking(path, "channels")
    from napari_vstain.core.models.files.checkpoint import KEY, read_checkpoint
    from napari_vstain.core.models.files.viscy import PREFIX

    content = read_checkpoint(path, lazily=True)
    state = content.get("state_dict")
    if KEY in content or not isinstance(state, dict) or not all(str(name).startswith(PREFIX) for name in state):
        return None
    beside = [file for file in path.parent.iterdir() if file.suffix in (".yml", ".yaml", ".json")]
    return Lacking(path, "config", beside[0] if len(beside) == 1 else None)


def load_elsewhere(
    path: Path, known: Elsewhere, token: CancelToken | None = None
) -> "tuple[Path | nn.Module, ModelSpec]":
    """Return the network, or the path of an ONNX file, and what is known of it. Following its graph takes seconds.

    Raises
    ------
    SettingsError
        When what is needed for the file is not said.
    ModelError
        When the file is damaged, or what is said does not fit it, or it says itself what it is.
    """
    if path.suffix == ".onnx":
        return path, _onnx_spec(path, known, token)
    if known.config is None:
        rule = "is needed for a checkpoint that was made elsewhere"
        raise SettingsError("elsewhere.config", None, rule, "give the configuration that VisCy trained with")
    from napari_vstain.core.models.files.viscy import load_viscy

    spec, network = load_viscy(path, known.config.expanduser())
    return network, spec


def _onnx_spec(path: Path, known: Elsewhere, token: CancelToken | None) -> ModelSpec:
    from napari_vstain.core.models.files.onnx_file import has_spec
    from napari_vstain.core.models.files.third_party import foreign_spec

    if has_spec(path):
        raise ModelError("model", path, "says itself what it takes and gives", "leave `elsewhere` out")
    for name in ("sources", "targets"):
        if not getattr(known, name):
            rule = "are needed for an ONNX file that was made elsewhere"
            raise SettingsError(f"elsewhere.{name}", None, rule, "name its channels, in its order")
    _check_statistics(known)
    return foreign_spec(
        path,
        known.sources,
        known.targets,
        source_normalization=known.source_normalization,
        target_normalization=known.target_normalization,
        statistics={name: known.statistics[name] for name in _normalized(known)},
        spacing_um=known.spacing_um,
        token=token,
    )


def _normalized(known: Elsewhere) -> list[str]:
    """Return the channels whose statistics are used."""
    sources = known.sources if known.source_normalization else ()
    targets = known.targets if known.target_normalization else ()
    return [name for name in (*sources, *targets) if name in known.statistics]


def _check_statistics(known: Elsewhere) -> None:
    """Refuse a normalization by numbers that nobody gave."""
    by_dataset = known.source_normalization is not None and known.source_normalization.level == "dataset"
    needed = (*(known.sources if by_dataset else ()), *(known.targets if known.target_normalization else ()))
    missing = [name for name in needed if name not in known.statistics]
    if missing:
        rule = f"has none of {missing[0]}, which the normalization needs"
        remedy = "give its mean, std, median and iqr, or normalize sources by level fov"
        raise SettingsError("elsewhere.statistics", None, rule, remedy)
