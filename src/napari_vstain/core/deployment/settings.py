"""What an export can be told."""

from pydantic import Field

from napari_vstain.core.settings import Settings


class ExportSettings(Settings):
    """Which model to export, and under what name."""

    experiment: str = Field(title="Experiment", description="Whose model to export.")
    run: str = Field("", title="Run", description="Run of the experiment; the newest when empty.")
    name: str = Field("", title="Name", description="Of the file; <experiment>_<run> when empty.")
    dataset: str = Field(
        "",
        title="Dataset",
        description="Name in the workspace, or path, of images to check the file on; the training's when empty.",
        json_schema_extra={"level": "advanced"},
    )
    licence: str = Field("", title="Licence", description="Under which the model may be used, for its card.")
    opset: int = Field(
        18,
        ge=18,
        le=23,
        title="Opset",
        description="Version of the ONNX operators.",
        json_schema_extra={"level": "advanced"},
    )
