"""The few settings of a training that most people change: what the command line and the dock ask for."""

from typing import Any, Literal

from pydantic import Field

from napari_vstain.core.settings import Settings, resolve
from napari_vstain.core.training.settings import DEFAULT_PRESET, TrainSettings


def _advanced(unit: str = "") -> dict[str, Any]:
    return {"level": "advanced", "unit": unit}


class TrainForm(Settings):
    """The few settings of a training that most people change; the others come from a preset."""

    dataset: str = Field(title="Dataset", description="Name of a dataset in the workspace, or path of an OME-Zarr.")
    experiment: str = Field(title="Experiment", description="Name of the folder under models/ that the run goes to.")
    sources: tuple[str, ...] = Field(title="Sources", description="Label-free channels to predict from.")
    targets: tuple[str, ...] = Field(title="Targets", description="Stain channels to predict.")
    train_on: tuple[str, ...] = Field(
        (),
        title="Train on",
        description="Positions to learn from; without these three lists all are split, wells kept together.",
    )
    validate_on: tuple[str, ...] = Field(
        (), title="Validate on", description="Positions that choose the best epoch, never learned from."
    )
    test_on: tuple[str, ...] = Field((), title="Test on", description="Positions kept apart to judge the model by.")
    epochs: int | None = Field(
        None, ge=1, title="Epochs", description="Rounds of training; the preset's when not given."
    )
    batches_per_epoch: int | None = Field(
        None,
        ge=1,
        title="Batches",
        description="Batches in an epoch; as many as cover the images once when not given.",
        json_schema_extra=_advanced(),
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        title="Batch size",
        description="Patches that are looked at together.",
        json_schema_extra=_advanced(),
    )
    patch_px: int | None = Field(
        None,
        ge=16,
        title="Patch size",
        description="Side of a patch; the preset's when not given.",
        json_schema_extra=_advanced("px"),
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        title="Learning rate",
        description="Of the optimizer; lower it when the loss jumps up and down.",
        json_schema_extra=_advanced(),
    )
    features: tuple[int, ...] | None = Field(
        None,
        title="Features",
        description="Channels of the network at each level, such as 16 32 64 128.",
        json_schema_extra=_advanced(),
    )
    normalize: Literal["dataset", "fov", "timepoint"] | None = Field(
        None,
        title="Normalize",
        description="Bring source images to a common scale by the statistics of the dataset, of each position (fov), "
        "or of each timepoint; choose fov when the light differs between positions.",
        json_schema_extra=_advanced(),
    )
    normalize_targets: Literal["auto", "dataset", "fov", "timepoint"] | None = Field(
        None,
        title="Normalize targets",
        description="Bring targets to a common scale by the statistics of all training positions (dataset), of each "
        "position (fov), so that dim and bright ones count alike, or of each timepoint; by default it is chosen by "
        "how much the brightness of the targets differs between positions, and said.",
        json_schema_extra=_advanced(),
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse a position that cannot be used, instead of leaving it out.",
        json_schema_extra=_advanced(),
    )
    preset: str = Field(
        DEFAULT_PRESET,
        title="Preset",
        description="Network and schedule to start from.",
        json_schema_extra=_advanced(),
    )
    seed: int | None = Field(
        None, ge=0, title="Seed", description="The same seed gives the same run.", json_schema_extra=_advanced()
    )
    threads: int | None = Field(
        None, ge=1, title="Threads", description="CPU threads; all when not given.", json_schema_extra=_advanced()
    )
    resume: str = Field(
        "",
        title="Resume",
        description="Go on with this run, such as first/version_3, from where it was stopped or killed; "
        "its settings are used, and only --epochs, --threads and --set may change them.",
        json_schema_extra={"level": "hidden"},
    )

    def values(self) -> dict[str, Any]:
        """Return the values of the full settings, for `--set` to change."""
        apart = {"normalize", "normalize_targets", "strict", "train_on", "validate_on", "test_on", "resume"}
        named = self.model_dump(exclude=apart)
        named |= {"train": self.train_on, "validate": self.validate_on, "test": self.test_on}
        values = TrainSettings.quick(**named).model_dump(mode="json") | {"strict": self.strict}
        levels = {"source": self.normalize, "target": self.normalize_targets}
        chosen = [f"data.init_args.{role}_normalization.level={level}" for role, level in levels.items() if level]
        return resolve(values, chosen) if chosen else values
