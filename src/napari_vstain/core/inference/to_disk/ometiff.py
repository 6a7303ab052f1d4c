"""Predictions as OME-TIFF, one file a position, for Fiji and CellProfiler."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from napari_vstain.core.arrays import Array
from napari_vstain.core.data import Position, open_dataset
from napari_vstain.core.data.attributes import mapping
from napari_vstain.core.data.predicted import made_from, record_of
from napari_vstain.core.files import atomically
from napari_vstain.core.progress import Progress


def save_tiffs(store: Path, keys: Sequence[str], progress: Progress) -> list[Path]:
    """Write positions of a prediction store to ``<store>_tiff/<row>_<column>_<field>.ome.tif``; return the files.

    One slice at a time is in memory. A file is written whole or not at all.
    """
    progress.phase("Saving as OME-TIFF", len(keys), "positions")
    dataset = open_dataset(store)
    folder = store.with_name(f"{store.name.removesuffix('.zarr')}_tiff")
    paths = []
    for key in keys:
        path = folder / f"{key.replace('/', '_')}.ome.tif"
        save_tiff(dataset.position(key), path, progress)
        paths.append(path)
        progress.advance()
    return paths


def save_tiff(position: Position, path: Path, progress: Progress | None = None) -> None:
    """Write a position as one OME-TIFF, float32, axes TCZYX, with channel names and voxel size.

    Its description says in YAML what it was predicted by and from, as the store does.
    """
    import tifffile

    metadata: dict[str, Any] = {"axes": "TCZYX", "Channel": {"Name": list(position.channels)}}
    metadata["Description"] = yaml.safe_dump(_origin(position), sort_keys=False)
    resolution = None
    if position.spacing_um is not None:
        for axis, size in zip("ZYX", position.spacing_um, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"} if size else {}
        resolution = (1e4 / position.spacing_um[2], 1e4 / position.spacing_um[1])
    with atomically(path) as temporary:
        tifffile.imwrite(
            temporary,
            _planes(position, progress or Progress()),
            ome=True,
            bigtiff=True,
            shape=position.shape,
            dtype=np.float32,
            photometric="minisblack",
            compression="zlib",
            predictor=True,
            metadata=metadata,
            resolution=resolution,
            resolutionunit="CENTIMETER",
        )


def _origin(position: Position) -> dict[str, Any]:
    """Return what a position's record says of where it comes from; what is not known is left out."""
    said = record_of(position)
    settings, details, pixels = (mapping(said.get(name)) for name in ("settings", "details", "input"))
    known = {
        "experiment": settings.get("experiment"),
        "run": settings.get("run"),
        "model": said.get("fingerprint"),
        "dataset": details.get("dataset"),
        "position": position.key,
        "sources": details.get("sources"),
        "pixels": pixels.get("content"),
        "prediction": made_from(said),
        "computed_by": dict(mapping(said.get("computed_by"))),
    }
    return {name: value for name, value in known.items() if value}


def _planes(position: Position, progress: Progress) -> Iterator[Array]:
    times, _, slices, *_ = position.shape
    for t in range(times):
        for channel in position.channels:
            for z in range(slices):
                progress.check()
                yield position.read([channel], t=t, z=slice(z, z + 1))[0, 0]
