"""What the evaluation can be told."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from napari_vstain.core.evaluation.definitions import Definitions
from napari_vstain.core.settings import Settings


class EvaluateSettings(Settings):
    """Which predictions to compare with which targets, and how."""

    experiment: str = Field(title="Experiment", description="Whose predictions to evaluate.")
    run: str = Field("", title="Run", description="Run of the experiment; the one that predicted when empty.")
    model: Path | None = Field(
        None,
        title="Model",
        description="The checkpoint or ONNX file that predicted, when it is no run of the experiment.",
        json_schema_extra={"level": "advanced"},
    )
    dataset: str = Field(
        "",
        title="Dataset",
        description="Name in the workspace, or path, of the dataset that was predicted; the training's when empty.",
    )
    positions: tuple[str, ...] = Field(
        (), title="Positions", description="Positions like B/03/0; all that are predicted whole when empty."
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse when a position cannot be evaluated, in place of naming it and going on with the others.",
        json_schema_extra={"level": "advanced"},
    )
    levels: tuple[Literal["slice", "volume"], ...] = Field(
        ("slice", "volume"),
        min_length=1,
        title="Levels",
        description="What one row of the table is computed on.",
        json_schema_extra={"level": "advanced"},
    )
    masks: tuple[Literal["whole", "foreground"], ...] = Field(
        ("whole",),
        min_length=1,
        title="Masks",
        description="Which pixels count: all, or those of the target above its Otsu threshold.",
    )
    baseline: bool = Field(
        True,
        title="Trivial baseline",
        description="Also fit and evaluate what any model must beat.",
        json_schema_extra={"level": "advanced"},
    )
    baseline_planes: int = Field(
        256,
        ge=1,
        title="Baseline slices",
        description="Slices of the training positions that the baseline is fitted to, spread evenly; all if fewer.",
        json_schema_extra={"level": "advanced"},
    )
    metrics: Definitions = Field(
        Definitions(),
        title="Metrics",
        description="Which definitions are meant.",
        json_schema_extra={"level": "advanced"},
    )
    threads: int | None = Field(
        None, ge=1, title="Threads", description="CPU threads; all when empty.", json_schema_extra={"level": "advanced"}
    )
