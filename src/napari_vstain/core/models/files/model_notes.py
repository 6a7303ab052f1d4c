"""What somebody says of a third-party model: what it takes and gives, and how its intensities are normalized."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.models.spec import Normalization, Statistics
from napari_vstain.core.settings import Settings


class ModelNotes(Settings):
    """What a third-party model does not say of itself."""

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
        None,
        title="Voxel size",
        description="Z, Y, X that the ONNX file was trained for, in micrometres.",
        json_schema_extra={"unit": "µm"},
    )

    def absolute(self) -> Self:
        """Return the same, with a configuration that is found from any folder."""
        if self.config is None:
            return self
        return self.model_copy(update={"config": self.config.expanduser().absolute()})

    def used_statistics(self) -> dict[str, Statistics]:
        """Return the statistics of the channels that are normalized by them.

        Raises
        ------
        SettingsError
            When a normalization needs numbers that nobody gave.
        """
        by_dataset = self.source_normalization is not None and self.source_normalization.level == "dataset"
        needed = (*(self.sources if by_dataset else ()), *(self.targets if self.target_normalization else ()))
        missing = [name for name in needed if name not in self.statistics]
        if missing:
            rule = f"has none of {missing[0]}, which the normalization needs"
            remedy = "give its mean, std, median and iqr, or normalize sources by level fov"
            raise SettingsError("model_info.statistics", None, rule, remedy)
        sources = self.sources if self.source_normalization else ()
        return {name: self.statistics[name] for name in (*sources, *needed) if name in self.statistics}


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
class Lacks:
    """What has to be said of a model file before it can predict."""

    path: Path
    what: Literal["channels", "config"]
    config: Path | None = None
    """The only configuration that lies beside a checkpoint, if there is one."""
