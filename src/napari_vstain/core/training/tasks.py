"""What a training learns: for each task what its head means, where its target comes from, and how its loss counts."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.models.spec import Head, OutputKind
from napari_vstain.core.settings import Settings

STAIN = "stain"
"""The name of the task when nobody names one: all targets together."""


class Truth(Settings):
    """Where the target of a task comes from."""

    kind: Literal["channel"] = Field(
        "channel", title="Kind", description="What it is in the dataset: its head's channels, pixel by pixel."
    )
    flatten: Literal["middle", "max", "mean"] = Field(
        "middle", title="Flatten",
        description="Of a head that gives one slice of a stack: the middle slice, or the maximum or mean along Z.",
    )  # fmt: skip


class Task(Settings):
    """One thing that a network learns."""

    head: Head
    loss: dict[str, Any] = Field(
        default_factory=lambda: {"class_path": "torch.nn.MSELoss"},
        title="Loss",
        description="Of (prediction, target): its class_path and init_args.",
    )
    weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, title="Weight", description="How much its loss counts in the sum over tasks."
    )
    truth: Truth = Truth()

    @model_validator(mode="after")
    def _in_the_images_pixels(self) -> "Task":
        if tuple(self.head.scale) not in ((1, 1, 1), (0, 1, 1)):
            raise ValueError(f"a training has no targets of scale {self.head.scale}: use (1, 1, 1) or (0, 1, 1)")
        return self

    @property
    def flat(self) -> bool:
        """Whether its prediction is one slice."""
        return self.head.scale[0] == 0

    @property
    def is_intensity(self) -> bool:
        """Whether its target is normalized, and judged by correlation."""
        return self.head.kind is OutputKind.FLUORESCENCE


def parse_tasks(values: Sequence[Mapping[str, Any]] | None) -> tuple[Task, ...]:
    """Return the tasks of a training file; none when it names none.

    Raises
    ------
    SettingsError
        When one is not as it must be, or two have one name.
    """
    tasks = tuple(Task.parse(value) for value in values or ())
    names = [task.head.task for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError("task", name, "is the name of two tasks", "name each otherwise")
    return tasks


def one_task(targets: Sequence[str]) -> tuple[Task, ...]:
    """Return the task of a training that names none: every target, as an intensity."""
    return (Task(head=Head(task=STAIN, channels=tuple(targets))),)
