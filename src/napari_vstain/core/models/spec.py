"""What a model says of itself: all that a checkpoint, an ONNX file, a dock and a model card exchange."""

from collections.abc import Mapping
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from napari_vstain.core.arrays import ZYX
from napari_vstain.core.errors import ChannelError, ModelError, NormalizationError
from napari_vstain.core.files import plainly
from napari_vstain.core.import_paths import stable_paths
from napari_vstain.core.models.calibration import Calibration
from napari_vstain.core.models.fingerprint import fingerprint_of
from napari_vstain.core.models.migration import MODEL_SCHEMA, migrate
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.settings import Settings

EPSILON = 1e-8
"""What VisCy adds to every divisor."""
FAINTEST = 1e-30
"""A divisor below it, or above its inverse, leaves float32."""
SPREAD = 100
"""How many of its divisors an image's standard deviation may be. More reach a network only where a divisor is next to
nothing, as the interquartile range of a sparse field is, and ruin what its normalization layers know."""
_NAMES = {
    "std": "a standard deviation", "iqr": "an interquartile range", "p95_p5": "a 5-95 % range",
    "p99_p1": "a 1-99 % range",
}  # fmt: skip
_MOST_STRIDE, _MOST_HALO, _MOST_SCALE = 1024, 2**14, 64


class Dimensions(StrEnum):
    """What a network takes: one slice (BCYX), a sliding window of slices, or a whole stack (both BCZYX)."""

    TWO = "2D"
    WINDOW = "2.5D"
    THREE = "3D"


class OutputKind(StrEnum):
    """What the values of an output mean; it decides normalization, default loss and layer type."""

    FLUORESCENCE = "fluorescence"
    MASK = "mask"
    DISTANCE = "distance"
    POINTS = "points"
    EMBEDDING = "embedding"


class Statistics(Settings):
    """Intensity statistics of one channel, in VisCy's terms and in the channel's own units."""

    mean: float
    std: float
    median: float
    iqr: float
    min: float | None = None
    max: float | None = None
    p1: float | None = None
    p5: float | None = None
    p95: float | None = None
    p99: float | None = None
    p95_p5: float | None = None
    p99_p1: float | None = None
    otsu_threshold: float | None = None


class Normalization(Settings):
    """How intensities become what a network sees: ``(x - subtract) / (divide + e)``.

    ``e`` is 1e-8 as in VisCy, and never more than a hundredth of the divisor: faint images keep their scale.
    """

    level: Literal["dataset", "fov", "timepoint"] = Field(
        "dataset", title="Level", description="Whose statistics are used: the training dataset's, or each image's own."
    )
    subtract: Literal["mean", "median", "min", "p1", "p5"] = Field(
        "mean", title="Subtract", description="The statistic that is subtracted."
    )
    divide: Literal["std", "iqr", "p95_p5", "p99_p1"] = Field(
        "std", title="Divide by", description="The statistic that is divided by."
    )

    def problem(self, statistics: Statistics) -> str:
        """Return why an image of these statistics cannot be normalized, the end of a sentence; nothing when it can."""
        offset, divisor = self._numbers(statistics)
        if not isfinite(offset):
            return f"has a {self.subtract} of {offset:g}"
        if not FAINTEST < divisor < 1 / FAINTEST:
            return f"has {_NAMES[self.divide]} of {divisor:g}"
        if statistics.std > SPREAD * divisor:
            return f"has {_NAMES[self.divide]} of {divisor:g} (standard deviation {statistics.std:g})"
        return ""

    def offset_and_divisor(self, statistics: Statistics) -> tuple[float, float]:
        """Return ``(offset, divisor)``, in the channel's units, of ``(x - offset) / divisor``.

        Raises
        ------
        ChannelError
            When the statistics lack a number.
        NormalizationError
            When the divisor is no positive number.
        """
        offset, divisor = self._numbers(statistics)
        if not (isfinite(offset) and 0 < divisor < float("inf")):
            rule = f"cannot be divided by, and {self.subtract} is {offset:g}"
            raise NormalizationError(self.divide, divisor, rule, "normalize by other statistics")
        return offset, divisor + min(EPSILON, divisor / 100)

    def _numbers(self, statistics: Statistics) -> tuple[float, float]:
        offset, divisor = getattr(statistics, self.subtract), getattr(statistics, self.divide)
        if offset is None or divisor is None:
            missing = self.subtract if offset is None else self.divide
            raise ChannelError(
                "normalization", missing, "is not among the stored statistics", "run `vstain preprocess`"
            )
        return float(offset), float(divisor)


class Head(Settings):
    """One output of a network: what a task predicts, and what its values mean."""

    task: str = Field("stain", min_length=1, title="Task", description="The name of the output.")
    channels: tuple[str, ...] = Field(title="Targets", description="The stain channels, in the output's order.")
    kind: OutputKind = OutputKind.FLUORESCENCE
    scale: tuple[float, float, float] = Field(
        (1, 1, 1), title="Scale", description="Output pixels per input pixel, (Z, Y, X); 0 in Z projects the stack."
    )
    normalization: Normalization | None = Field(
        None, title="Normalization", description="Of an intensity; that of all targets when there is none of its own."
    )
    activation: Literal["none", "sigmoid", "softplus"] = Field(
        "none",
        title="Activation",
        description="What is done to the network's values before they are a prediction; the loss sees them without.",
    )

    @model_validator(mode="after")
    def _only_intensities_are_normalized(self) -> "Head":
        if self.normalization is not None and self.kind is not OutputKind.FLUORESCENCE:
            raise ValueError(f"the output {self.task} is no intensity, and has no normalization")
        return self


OutputSpec = Head
"""What a head was called first."""


class ModelSpec(Settings):
    """All that a model says of itself. Lengths are (Z, Y, X); in 2D, Z counts one slice and no halo."""

    schema_version: int = Field(MODEL_SCHEMA, ge=1, strict=True)
    name: str = ""
    """``<experiment>/<run>`` or a file's name: for people, never for finding anything."""
    weights: str = ""
    """SHA-256 of the weights, first 16 hex digits: the model's fingerprint."""
    sources: tuple[str, ...]
    """Source channels by name, in the network's order."""
    outputs: tuple[Head, ...]
    dimensions: Dimensions = Dimensions.TWO
    z_window: int = Field(1, ge=1)
    """Slices that the network takes at once: 1 in 2D; in 3D, the least it can take."""
    stride: ZYX = (1, 1, 1)
    """Total stride: tile origins and sizes are multiples of it, in pixels."""
    halo: ZYX = (0, 0, 0)
    """One-sided context in pixels: the receptive-field radius, rounded up to the stride."""
    tile_exact: bool = True
    """False when the network looks across the whole image (InstanceNorm, GRN), so that no halo is exact, or when its
    layers do not tell how far it looks, so that the halo is an estimate."""
    border: Literal["reflect", "network", "zeros"] = "reflect"
    """What lies beyond the image: its reflection, as in our training; what the network itself puts there, as those
    predict who made it; or zeros on both sides, up to a multiple of the stride, and then the network's own (VisCy)."""
    size_step: ZYX | None = None
    """With border ``network``: image sizes are multiples of it, reached by reflection, in pixels; None: the stride."""
    exact_step: ZYX | None = None
    """With border ``network``: tiles are exact of images whose sizes are multiples of it; None: `size_step`."""
    source_normalization: Normalization = Normalization()
    target_normalization: Normalization = Normalization()
    """How targets were normalized in training: by the dataset, by each position (``fov``) or time point."""
    target_scale: dict[str, tuple[float, float]] = Field({})
    """Offset and divisor of targets that were normalized by fixed numbers; other targets have statistics."""
    statistics: dict[str, Statistics] = Field(default_factory=dict)
    """Of the training positions together, for every source and target channel; of a target that was normalized by
    position they are the typical position's, the median of each number: a prediction comes back in these units."""
    spacing_um: tuple[float | None, float, float] | None = None
    """Voxel size of the training data in micrometres; None when it was not known."""
    novelty: Calibration = Calibration()
    """What is known of how inputs may look: what `core.novelty` calibrated."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The network: ``{class_path, init_args}``; classes of ours by their paths in `napari_vstain.nn`."""
    training: Training = Training()
    """Where the model comes from: experiment, run, dataset, positions of each split, epochs, metrics."""
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target channel of every output, in order."""
        return tuple(channel for output in self.outputs for channel in output.channels)

    @property
    def fingerprint(self) -> str:
        """A digest of the weights and of everything that changes a prediction; 16 hex digits."""
        return fingerprint_of(self)

    def source_offset_and_divisor(self, channel: str) -> tuple[float, float]:
        """Return the training dataset's ``(offset, divisor)`` of a source channel."""
        return self.source_normalization.offset_and_divisor(self._statistics(channel))

    def target_offset_and_divisor(self, channel: str) -> tuple[float, float]:
        """Return ``(offset, divisor)`` such that ``prediction * divisor + offset`` is in the target's units."""
        if channel in self.target_scale:
            return self.target_scale[channel]
        own = next((head.normalization for head in self.outputs if channel in head.channels), None)
        return (own or self.target_normalization).offset_and_divisor(self._statistics(channel))

    def _statistics(self, channel: str) -> Statistics:
        if channel not in self.statistics:
            known = ", ".join(self.statistics) or "none"
            raise ChannelError("channel", channel, f"the model has statistics of {known} only", "train it again")
        return self.statistics[channel]

    @model_validator(mode="after")
    def _possible(self) -> "ModelSpec":
        """Refuse what no model can mean, before a number of it reaches a prediction."""
        for channel, statistics in self.statistics.items():
            for name, value in statistics:
                if value is not None and not isfinite(value):
                    raise ValueError(f"the {name} of {channel} is {value}")
            if statistics.std < 0 or statistics.iqr < 0:
                raise ValueError(f"the std or the iqr of {channel} is below 0")
        if any(size is not None and not (isfinite(size) and size > 0) for size in self.spacing_um or ()):
            raise ValueError(f"a voxel size of {self.spacing_um} um is not above 0")
        for output in self.outputs:
            if not all(isfinite(factor) and 0 <= factor <= _MOST_SCALE for factor in output.scale):
                raise ValueError(f"an output of scale {output.scale} has no size")
            if 0 in output.scale[1:] or not output.channels:
                raise ValueError(f"the output {output.task} has no pixels")
        if len({output.task for output in self.outputs}) < len(self.outputs):
            raise ValueError("two outputs have one name")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("two sources have one name")
        if self.dimensions is Dimensions.TWO and self.z_window != 1:
            raise ValueError(f"a 2D network takes one slice, not {self.z_window}")
        if max(self.stride) > _MOST_STRIDE or max(self.halo) > _MOST_HALO or self.z_window > _MOST_STRIDE:
            raise ValueError(f"a stride of {self.stride}, a halo of {self.halo} px or a window is beyond every network")
        return self

    @model_validator(mode="before")
    @classmethod
    def _as_written_now(cls, values: Any) -> Any:
        return migrate(values) if isinstance(values, Mapping) else values

    @field_validator("config", mode="before")
    @classmethod
    def _as_files_name_it(cls, value: Any) -> Any:
        return stable_paths(value)

    @field_validator("sources", "outputs")
    @classmethod
    def _not_empty(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("must name at least one channel")
        return value

    @model_validator(mode="after")
    def _on_the_stride_grid(self) -> "ModelSpec":
        for axis, halo, stride in zip("ZYX", self.halo, self.stride, strict=True):
            if stride < 1 or halo < 0 or halo % stride:
                raise ValueError(f"halo {axis} {halo} px must be a multiple of the stride {stride} px")
        for steps in (self.size_step, self.exact_step):
            if steps and any(step < 1 or stride % step for step, stride in zip(steps, self.stride, strict=True)):
                raise ValueError(f"sizes {steps} px must divide the stride {self.stride} px")
        return self


def parse_spec(text: str, field: str, path: Path) -> ModelSpec:
    """Return the ModelSpec that the JSON in a model file holds.

    Raises
    ------
    ModelError
        When it is none, was written by a version that came later than this one, or says what no model can mean.
    """
    try:
        return ModelSpec.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        if isinstance(newer := problem.get("ctx", {}).get("error"), ModelError):
            raise ModelError(field, path, newer.rule, newer.remedy) from error
        where = ".".join(map(str, problem["loc"]))
        reason = f"{where}: {problem['msg']}" if where else problem["msg"].removeprefix("Value error, ")
        rule = f"describes itself in a way that this version does not understand ({plainly(reason)})"
        raise ModelError(field, path, rule, "update napari-vstain, or make the model again") from error
