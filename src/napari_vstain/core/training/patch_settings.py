"""What the cutting of patches can be told."""

from pydantic import Field

from napari_vstain.core.settings import Settings

USUAL_STRIDE = 16
"""What is proposed is a multiple of it, in pixels: most networks' total strides divide it."""


class PatchSettings(Settings):
    """How images are cut for training."""

    size_px: int = Field(
        256, ge=8, le=4096, title="Patch size", description="Side of a patch.", json_schema_extra={"unit": "px"}
    )
    batch_size: int = Field(4, ge=1, le=4096, title="Batch size", description="Patches that are looked at together.")
    batches_per_epoch: int | None = Field(
        None, ge=1, title="Batches an epoch", description="As many as cover the training images once, if not given."
    )
    margin_px: int = Field(
        0, ge=0, le=512, title="Margin", json_schema_extra={"unit": "px"},
        description="Border of a patch that is only context; beyond the image it is a reflection, as in prediction.",
    )  # fmt: skip
    z_window: int = Field(1, ge=1, title="Slices", description="Slices of a patch: 1 for a 2D network.")
    validation_patches: int = Field(
        64, ge=1, title="Validation patches", description="The most patches that are looked at after each epoch."
    )
    flip: bool = Field(True, title="Flip", description="Mirror patches at random, along Y and X.")
    rotate: bool = Field(True, title="Rotate", description="Turn patches at random by quarters.")
    brightness: float = Field(
        1.0, ge=0, le=10, title="Brightness",
        description="Make the sources of a patch brighter or darker, by up to so many standard deviations, at random: "
        "so a network learns to overlook uneven light.",
    )  # fmt: skip
    contrast: float = Field(
        0.2, ge=0, lt=1, title="Contrast", description="Stretch the sources of a patch by up to this share, at random."
    )
    detail: float = Field(
        0.5, ge=0, le=1, title="Detail",
        description="Share of patches that are drawn where the targets stand out; the others are drawn evenly.",
    )  # fmt: skip
    cache_gb: float = Field(
        2.0, ge=0, title="Cache", json_schema_extra={"unit": "GB"},
        description="Memory that images may take; those that do not fit are read from disk patch by patch.",
    )  # fmt: skip
    prefetch: int = Field(3, ge=0, le=64, title="Prefetch", description="Batches made ahead, in the background.")
    workers: int = Field(
        1, ge=1, le=64, title="Workers",
        description="Threads that make batches ahead, at most as many as are prefetched; the batches are the same.",
    )  # fmt: skip
