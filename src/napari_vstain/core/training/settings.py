"""The settings of a training are the file that LightningCLI reads, and the name of the experiment."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from napari_vstain.core.import_paths import stable_paths
from napari_vstain.core.settings import PRESET, Settings, resolve
from napari_vstain.core.training.patch_settings import USUAL_STRIDE, PatchSettings

DEFAULT_PRESET = "unet"
_OURS = ("experiment", "threads", "strict", "monitor", "mode", "ckpt_path", "resume")
"""What LightningCLI does not know."""


class TrainSettings(Settings):
    """A LightningCLI file, with the experiment that the run belongs to.

    Networks, losses, optimizers, schedules and callbacks are named by their import paths, as ``class_path`` and
    ``init_args``. The file without `experiment`, `threads`, `strict`, `monitor`, `mode` and `resume` works with plain
    LightningCLI.
    """

    experiment: str = Field(title="Experiment", description="The folder under models/ that the run goes to.")
    threads: int | None = Field(
        None,
        ge=1,
        title="CPU threads",
        description="Cores that the network may use; all of them when empty.",
        json_schema_extra={"level": "advanced"},
    )
    seed_everything: int | bool = Field(
        0,
        title="Seed",
        description="The same seed gives the same first weights and patches.",
        json_schema_extra={"level": "advanced"},
    )
    trainer: dict[str, Any] = Field(
        default_factory=dict,
        title="Trainer",
        description="Arguments of Lightning's Trainer: max_epochs, precision, …",
        json_schema_extra={"level": "hidden"},
    )
    model: dict[str, Any] = Field(
        title="Model",
        description="The LightningModule: its class_path and init_args.",
        json_schema_extra={"level": "hidden"},
    )
    data: dict[str, Any] = Field(
        title="Data",
        description="The LightningDataModule: its class_path and init_args.",
        json_schema_extra={"level": "hidden"},
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse a position that cannot be used, instead of leaving it out.",
        json_schema_extra={"level": "advanced"},
    )
    monitor: str = Field(
        "",
        title="Monitor",
        description="The scalar that chooses the epoch to predict with, as it is called in the log: loss/validate, "
        "pearson/<target>, …; when empty the validation loss, or without validation the training loss.",
        json_schema_extra={"level": "advanced"},
    )
    mode: Literal["min", "max"] = Field(
        "min",
        title="Mode",
        description="Whether the least or the most of what is monitored is the best.",
        json_schema_extra={"level": "advanced"},
    )
    ckpt_path: str | None = Field(
        None,
        title="Resume from",
        description="A checkpoint of an earlier run to go on from, weights and optimizer.",
        json_schema_extra={"level": "hidden"},
    )
    resume: str = Field(
        "",
        title="Resume",
        description="Run of the experiment to go on with, from where it was stopped or killed.",
        json_schema_extra={"level": "hidden"},
    )

    @field_validator("trainer", "model", "data", mode="before")
    @classmethod
    def _as_files_name_them(cls, value: Any) -> Any:
        """Files of before name our classes by paths that moved; what is saved again bears the stable ones."""
        return stable_paths(value)

    @classmethod
    def quick(
        cls,
        experiment: str,
        dataset: str,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        train: Sequence[str] = (),
        validate: Sequence[str] = (),
        test: Sequence[str] = (),
        epochs: int | None = None,
        patch_px: int | None = None,
        batch_size: int | None = None,
        batches_per_epoch: int | None = None,
        learning_rate: float | None = None,
        features: Sequence[int] | None = None,
        seed: int | None = None,
        threads: int | None = None,
        preset: str = DEFAULT_PRESET,
    ) -> Self:
        """Return the settings of a preset with what a dock or a command line asks for; None keeps the preset's value.

        Parameters
        ----------
        dataset : str
            Name of a dataset in the workspace, or path of an OME-Zarr.
        train, validate, test : sequence of str
            Positions; when `train` is empty `propose_split` splits all.
        """
        network = {"in_channels": len(sources), "out_channels": len(targets), "features": _list(features)}
        patches = {"size_px": patch_px, "batch_size": batch_size, "batches_per_epoch": batches_per_epoch}
        data = {"dataset": dataset, "sources": list(sources), "targets": list(targets), "seed": seed}
        splits = {"train": list(train), "validate": list(validate), "test": list(test)}
        values = {
            PRESET: preset,
            "experiment": experiment,
            "threads": threads,
            "seed_everything": seed,
            "trainer": _given({"max_epochs": epochs}),
            "model": {
                "init_args": {
                    "network": {"init_args": _given(network)},
                    "optimizer": {"init_args": _given({"lr": learning_rate})},
                }
            },
            "data": {"init_args": _given({**data, **splits}) | {"patches": _given(patches)}},
        }
        return cls.parse(resolve(_given(values)))

    def fitting(self, planes: Iterable[Sequence[int]]) -> Self:
        """Return the settings with patches that fit into the smallest of these planes, (Y, X) in pixels."""
        arguments = self.data.get("init_args", {})
        patches = PatchSettings.model_validate(arguments.get("patches") or {})
        smallest = min((size for plane in planes for size in plane), default=patches.size_px)
        if patches.size_px - 2 * patches.margin_px <= smallest:
            return self
        size = max(smallest // USUAL_STRIDE * USUAL_STRIDE, min(smallest, USUAL_STRIDE))
        patches = patches.model_copy(update={"size_px": size, "margin_px": 0})
        data = {**self.data, "init_args": {**arguments, "patches": patches.model_dump(exclude_unset=True)}}
        return self.model_copy(update={"data": data})

    def lightning(self) -> dict[str, Any]:
        """Return the file as plain LightningCLI reads it: the tasks of the model are those of the data too."""
        values = self.model_dump(mode="json", exclude=set(_OURS))
        model, data = values["model"].get("init_args"), values["data"].get("init_args")
        if isinstance(model, dict) and isinstance(data, dict) and model.get("tasks") is not None:
            data["tasks"] = model["tasks"]
        return values


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _list(values: Sequence[int] | None) -> list[int] | None:
    return None if values is None else list(values)
