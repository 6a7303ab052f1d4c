"""What a prediction can be told."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from napari_vstain.core.engines.base import EngineName, Precision
from napari_vstain.core.inference.augment import Augmentation
from napari_vstain.core.inference.recipe import Existing
from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.settings import Settings


class PredictSettings(Settings):
    """What to predict, with which model, and where it goes."""

    former_names: ClassVar[Mapping[str, str]] = {"elsewhere": "model_info"}

    dataset: str = Field(title="Dataset", description="Name of a dataset in the workspace, or path of an OME-Zarr.")
    experiment: str = Field("", title="Experiment", description="Whose model predicts; needed unless a model is given.")
    run: str = Field(
        "",
        title="Run",
        description="Run of the experiment; the newest when empty. A run that is not the newest has its own store.",
    )
    model: Path | None = Field(
        None,
        title="Model",
        description="A checkpoint or ONNX file, in place of the experiment's own.",
        json_schema_extra={"level": "advanced"},
    )
    model_info: ModelNotes = Field(
        ModelNotes(),
        title="A third-party model",
        description="What a VisCy checkpoint, or an ONNX file of another maker, does not say of itself.",
        json_schema_extra={"level": "advanced"},
    )
    positions: tuple[str, ...] = Field((), title="Positions", description="Positions like B/03/0; all when empty.")
    sources: dict[str, str] = Field(
        {},
        title="Source channels",
        description="The dataset's channel for a source of the model of another name.",
        json_schema_extra={"level": "advanced"},
    )
    region: tuple[int, int, int, int] | None = Field(
        None,
        title="Region",
        description="Top, left, bottom and right edge, in pixels; whole blocks are predicted.",
        json_schema_extra={"unit": "px", "level": "advanced"},
    )
    slices: tuple[int, int] | None = Field(
        None,
        title="Slices",
        description="First slice, and the one after the last.",
        json_schema_extra={"level": "advanced"},
    )
    times: tuple[int, int] | None = Field(
        None,
        title="Timepoints",
        description="First timepoint, and the one after the last.",
        json_schema_extra={"level": "advanced"},
    )
    engine: EngineName = Field(EngineName.AUTO, title="Engine", description="What runs the network; auto: the fastest.")
    device: str = Field("auto", title="Device", description="Where it runs: auto, cpu, cuda, cuda:1, mps.")
    precision: Precision = Field(
        Precision.FLOAT32, title="Precision", description="What it computes in: less is faster and less exact."
    )
    threads: int | None = Field(
        None, ge=1, title="Threads", description="CPU threads; all when empty.", json_schema_extra={"level": "advanced"}
    )
    tile_px: int | None = Field(
        None,
        ge=512,
        title="Tile size",
        description="Side of a tile in pixels; chosen from the memory when empty.",
        json_schema_extra={"unit": "px", "level": "advanced"},
    )
    pixels_at_once: int | None = Field(
        None,
        ge=1,
        title="Pixels at once",
        description="What the network computes at once, in pixels; found from the memory when empty.",
        json_schema_extra={"unit": "px", "level": "advanced"},
    )
    z_step: int = Field(
        1,
        ge=1,
        title="Z step",
        description="2.5D: slices from one window to the next; a slice is the mean over its windows.",
        json_schema_extra={"level": "advanced"},
    )
    augment: Augmentation = Field(
        Augmentation.NONE,
        title="Flips and rotations",
        description="Mean or median over the eight flips and rotations, with their standard deviation as uncertainty.",
    )
    resample: bool = Field(
        False,
        title="Resample",
        description="Predict at the model's voxel size along Y and X, and bring the prediction back onto the image's.",
        json_schema_extra={"level": "advanced"},
    )
    existing: Existing = Field(
        Existing.RESUME,
        title="Existing predictions",
        description="Go on with them, overwrite all, renew what was predicted otherwise, or skip what is done.",
        json_schema_extra={"level": "advanced"},
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse when a position cannot be predicted, in place of naming it and going on with the others.",
        json_schema_extra={"level": "advanced"},
    )
    init: bool = Field(
        False,
        title="Only make the store",
        description="Make it with all its positions, and say what each will take; processes then fill it, each some.",
        json_schema_extra={"level": "hidden"},
    )
    ome_tiff: bool = Field(
        False,
        title="OME-TIFF",
        description="Also save each position as OME-TIFF, for Fiji.",
        json_schema_extra={"level": "advanced"},
    )
    scheduler: str = Field(
        "",
        title="Scheduler",
        description="Address of a dask.distributed scheduler that shares the work: tcp://…",
        json_schema_extra={"level": "hidden"},
    )
    output: Path | None = Field(
        None,
        title="Output",
        description="The store to write; evaluation/<experiment>/predictions.zarr when empty.",
        json_schema_extra={"level": "advanced"},
    )

    @field_validator("region", "slices", "times")
    @classmethod
    def _has_a_size(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        half = len(value) // 2
        if min(value) < 0:
            raise ValueError("must be counted from 0, and not be negative")
        if any(first >= last for first, last in zip(value[:half], value[half:], strict=True)):
            raise ValueError("holds nothing: each end must be greater than its beginning")
        return value
