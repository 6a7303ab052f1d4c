"""Import turns image files into a plate in the workspace: the whole of it, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from napari_vstain.core.arrays import Image, Limits
from napari_vstain.core.data.alignment import Alignment, align
from napari_vstain.core.data.attributes import OURS, SCHEMA_VERSION
from napari_vstain.core.data.building import building
from napari_vstain.core.data.chunks import WHOLE
from napari_vstain.core.data.identity import TOKEN
from napari_vstain.core.data.layouts.layout import Layout
from napari_vstain.core.data.layouts.pattern import FilePattern, as_text
from napari_vstain.core.data.pixels import PixelWriter, writing_pixels
from napari_vstain.core.data.plate import NewPosition, PlateWriter, create_plate
from napari_vstain.core.data.readers.stated import Stated
from napari_vstain.core.data.source_files import PositionFiles, gather_sources, notes_on
from napari_vstain.core.left_out import LeftOut
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.stages import config_path
from napari_vstain.core.workspace import Workspace

LOOKED_AT = 16
"""Planes of a channel that its contrast limits are taken from."""


class ImportSettings(Settings):
    """Which files become which positions and channels."""

    source: Path = Field(title="Source", description="Folder that holds the TIFF files.")
    pattern: str = Field(
        title="Pattern",
        description="Path of a file below the folder, with {position}, {channel}, {row}, {column}, {t}, {z}, and * for "
        "anything: {position}_{channel}.tif",
    )
    name: str = Field(title="Name", description="Name of the new dataset.")
    channels: dict[str, str] = Field(
        default_factory=dict,
        title="Channels",
        description="Channel as the files write it: name in the dataset, in the order wanted. Files of other channels "
        "are left out. All channels, as the files write them, when empty.",
    )
    spacing_um: tuple[float, float, float] | None = Field(
        None,
        title="Voxel size",
        description="Size of a voxel, (Z, Y, X), in µm; read from the files when not given.",
        json_schema_extra={"unit": "µm"},
    )
    axes: str = Field(
        "",
        title="Axes",
        description="What the files' axes are, slowest first, of T, C, Z, Y and X, where they do not say it or say it "
        "wrongly: TYX for a movie. Axes of size 1 may be left out. As the files say when empty.",
        json_schema_extra={"level": "advanced"},
    )
    grey_channels: bool = Field(
        False,
        title="Grey channels",
        description="Take what the files call red, green and blue for channels of grey values, not for a picture.",
        json_schema_extra={"level": "advanced"},
    )
    register_to: str = Field(
        "",
        title="Register to",
        description="Channel that the others are shifted onto, by whole pixels, each position by itself; then all "
        "positions are cropped alike. No registration when empty.",
    )
    register_limit_px: int = Field(
        16,
        ge=1,
        le=256,
        title="Largest shift",
        description="How far channels may lie apart, in pixels.",
        json_schema_extra={"unit": "px", "level": "advanced"},
    )
    version: Literal["0.4", "0.5"] = Field(
        "0.5", title="OME-NGFF version", description="Version of the format.", json_schema_extra={"level": "advanced"}
    )
    strict: bool = Field(
        False,
        title="Strict",
        description="Refuse to go on when a position cannot be used, instead of leaving it out.",
        json_schema_extra={"level": "advanced"},
    )

    @field_validator("axes")
    @classmethod
    def _of_tczyx(cls, value: str) -> str:
        axes = value.strip().upper()
        if axes and not (len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes) <= set("TCZYX")):
            raise ValueError("must be some of T, C, Z, Y and X, each once, with Y and X among them")
        return axes

    @field_validator("spacing_um")
    @classmethod
    def _positive(cls, value: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("must be greater than 0 µm along every axis")
        return value


@dataclass(frozen=True)
class ImportResult:
    """What was imported."""

    dataset: Path
    config: Path
    positions: tuple[str, ...]
    channels: tuple[str, ...]
    shifts_px: Mapping[str, Mapping[str, tuple[int, int]]]
    """By position and channel, (Y, X): how far the channel lay from the one that it was registered to."""
    left_out: tuple[LeftOut, ...] = ()
    """Positions that could not be used, with the reason."""
    notes: tuple[str, ...] = ()
    """What should be known of what was imported, as sentences."""


def run_import(settings: ImportSettings, workspace: Workspace, progress: Progress) -> ImportResult:
    """Write the files that match as a new dataset; the settings go to ``import_config.yml`` in its sidecar folder.

    All headers are read before the first pixel is written, and the dataset takes its name only when it is whole.

    Raises
    ------
    SettingsError
        When the pattern is not one, or the channel to register to is not imported.
    DatasetError
        When no file matches, or no position can be used (with `strict`: when one cannot), since it lacks a channel or
        a slice, its channels differ in shape, or a file is no image of its format.
    WorkspaceError
        When the workspace has a dataset of that name.
    StorageError
        When the disk takes no data.
    """
    settings = settings.model_copy(update={"source": settings.source.expanduser().absolute()})
    path = workspace.new_dataset(settings.name)
    layout: Layout = FilePattern(settings.pattern, tuple(settings.channels))
    found = list(layout.planes(settings.source))
    stated = Stated(settings.axes, settings.grey_channels)
    sources, left_out, parts = gather_sources(found, settings.channels, progress, stated, settings.strict)
    config = config_path(workspace.sidecar(path), "import")
    channels = next(iter(sources.values())).channels
    alignment = align(sources, settings.register_to, settings.register_limit_px, progress)
    progress.phase("Importing", sum(prod(source.shape[:3]) for source in sources.values()), "planes")
    with (
        building(path) as temporary,
        create_plate(temporary, channels, version=settings.version, name=path.stem) as plate,
    ):
        plate.set_attribute(OURS, _note(settings.model_dump(mode="json"), plate.token))
        planned = {key: _planned(key, source, alignment, settings) for key, source in sources.items()}
        plate.add_positions(list(planned.values()))  # at once: the plate's list is written once, not by each of them
        for key, source in sources.items():
            _write(plate, planned[key], source, alignment, progress)
        settings.save(config)  # before the dataset takes its name: no dataset is without
    notes = (*_unmatched(layout.others(settings.source)), *_parts(parts), *notes_on(sources, settings.spacing_um))
    return ImportResult(path, config, tuple(sources), channels, alignment.shifts_px, left_out, notes)


def _unmatched(others: Sequence[str]) -> list[str]:
    if not others:
        return []
    named = ", ".join(others[:3]) + ("…" if len(others) > 3 else "")
    which = "file does" if len(others) == 1 else "files do"
    return [f"{len(others)} {which} not match the pattern, and were left out: {named}."]


def _parts(files: Sequence[Path]) -> list[str]:
    if not files:
        return []
    return [f"{len(files)} files, such as {as_text(files[0].name)}, are parts of images that other files begin."]


def _planned(key: str, source: PositionFiles, alignment: Alignment, settings: ImportSettings) -> NewPosition:
    spacing = settings.spacing_um or source.spacing_um
    if spacing and spacing[0] is None and source.shape[2] == 1:
        spacing = (1.0, *spacing[1:])  # one slice has no distance to the next
    shape = alignment.cropped(source.shape)
    offset = (0.0, alignment.top * spacing[1], alignment.left * spacing[2]) if spacing else (0.0, 0.0, 0.0)
    return NewPosition(key, shape, source.dtype, spacing, offset)


def _write(
    plate: PlateWriter, planned: NewPosition, source: PositionFiles, alignment: Alignment, progress: Progress
) -> None:
    key = planned.key
    with writing_pixels(plate.add_position(key, planned.shape, planned.dtype)) as write:
        limits = {
            channel: _copy(source, channel, alignment.region(key, channel, source.shape), write, progress)
            for channel in source.channels
        }
    plate.set_contrast_limits(key, limits)
    plate.set_attribute(OURS, _note(_provenance(key, source, alignment), plate.token), key)


def _copy(
    source: PositionFiles, channel: str, region: tuple[slice, slice], write: PixelWriter, progress: Progress
) -> Limits:
    """Write one channel, and return between which intensities it is best shown."""
    c, (times, _, slices, *_) = source.channels.index(channel), source.shape
    every = -(-times * slices // LOOKED_AT)
    seen: list[Image] = []
    for t, z, whole in source.planes(channel):
        plane = whole[region]
        write(plane[None, None, None], (t, c, z, 0, 0))
        if (t * slices + z) % every == 0:
            seen.append(plane[::4, ::4])
        progress.advance(message=source.name)
    return _limits(np.stack(seen))


def _provenance(key: str, source: PositionFiles, alignment: Alignment) -> dict[str, Any]:
    files = {channel: [as_text(file.path.name) for file in source.files[channel]] for channel in source.channels}
    image = next(iter(source.files.values()))[0].image
    named = {"image": image.name} if image.name else {}
    return {"position": source.name, "files": files, **named, "chunks": WHOLE, **alignment.note(key)}


def _note(value: Mapping[str, Any], token: str) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, TOKEN: token, "import": dict(value)}


def _limits(pixels: Image) -> Limits:
    finite = pixels[np.isfinite(pixels)]
    low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 1.0)
    return (float(low), float(high)) if low < high else (float(low), float(low) + 1.0)
