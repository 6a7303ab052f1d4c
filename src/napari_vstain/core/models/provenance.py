"""Where a model comes from: nothing of it changes a prediction."""

from pydantic import Field, JsonValue

from napari_vstain.core.models.split import Split
from napari_vstain.core.settings import Settings


class Training(Settings):
    """What is known of how a model was made; everything is empty for one that says nothing of it."""

    experiment: str = ""
    run: str = ""
    config: str = ""
    """Name of the file that trains it again, beside the experiment's runs."""
    dataset: str = ""
    """Its name in the workspace, or its path."""
    positions: Split = Split(())
    """Which positions it learned from, was chosen by, and is to be judged by."""
    target_normalization: str = ""
    """How targets were normalized and why, in a sentence."""
    patches: dict[str, JsonValue] = Field({})
    """How patches were cut: the settings of that time, for people."""
    batches_per_epoch: int | None = None
    epochs: int | None = None
    """Finished when these weights were saved."""
    steps: int | None = None
    """Batches learned from until then."""
    metrics: dict[str, float | None] = Field({})
    """The named scalars of that epoch; None for one that was not a number."""
    made_by: str = ""
    """What made it, when it was not this package."""
    reach: str = ""
    """Of a third-party ONNX file: what told how far it looks."""
