"""What napari takes from us besides docks: a reader for plates and our own stores, and a sample plate; with no Qt.

In a window `widgets.sample` makes the sample plate in the background.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_vstain.core.data import Dataset, Position
    from napari_vstain.core.progress import Progress

LayerData = tuple[Any, dict[str, Any], str]
ReadFunction = Callable[[str | Sequence[str]], list[LayerData]]


def get_reader(path: str | Sequence[str]) -> ReadFunction | None:
    """Return a function that reads `path`, or None for whatever is neither a plate nor a store of ours.

    Only the metadata of the one folder is looked at, so that asking costs nothing.
    """
    if not isinstance(path, str) and len(path) != 1:
        return None
    return read_first_position if _is_ours(_only(path)) else None


def read_first_position(path: str | Sequence[str]) -> list[LayerData]:
    """Return the first position of a plate, or an image, as one Image layer a channel.

    Each layer's ``metadata["vstain"]`` holds the dataset's path, the position and the channel.

    Raises
    ------
    DatasetError
        When the store is damaged, or one of predictions in which nothing is predicted yet.
    """
    from napari_vstain.core.data import open_dataset
    from napari_vstain.core.data.predicted import open_predictions, shared_at

    folder = _only(path)
    dataset = open_predictions(folder) if shared_at(folder) else open_dataset(folder)
    return layers_of(dataset, next(iter(dataset.positions.values())))


def sample_plate(progress: "Progress | None" = None) -> list[LayerData]:
    """Return the first position of the simulated plate, which is made once, among the user's caches: 8 s."""
    from napari_vstain.core.files import cache_folder
    from napari_vstain.core.simulation import simulate_plate
    from napari_vstain.core.workspace import Workspace

    workspace = Workspace.create(cache_folder("sample"))
    if not workspace.dataset_names():
        simulate_plate(workspace.new_dataset("sample"), progress=progress)
    return read_first_position(str(workspace.dataset(workspace.dataset_names()[0])))


def layers_of(dataset: "Dataset", position: "Position") -> list[LayerData]:
    """Return the channels of a position as napari layer tuples, lazily, without axes of size 1 before Y and X."""
    return [(*_layer(dataset, position, channel), "image") for channel in position.channels]


def _layer(dataset: "Dataset", position: "Position", channel: str) -> tuple[Any, dict[str, Any]]:
    index = position.channel_index(channel)
    shown = [axis for axis, size in enumerate(position.shape) if axis in (0, 2) and size > 1]
    levels = [_part(level, index, shown) for level in position.levels()]
    colour = position.colour(channel) or "FFFFFF"
    arguments = {
        "name": channel,
        "multiscale": len(levels) > 1,
        "contrast_limits": position.contrast_limits(channel) or _measured_limits(levels[-1]),
        "colormap": "gray" if colour == "FFFFFF" else f"#{colour}",
        "blending": "translucent_no_depth" if index == 0 else "additive",
        "metadata": {"vstain": {"path": str(dataset.path), "position": position.key, "channel": channel}},
        **_place(position, shown),
    }
    return (levels if len(levels) > 1 else levels[0]), arguments


def _part(level: Any, channel: int, shown: Sequence[int]) -> Any:
    """Return a channel of a level (T, C, Z, Y, X), with T and Z only where they are shown."""
    t, z = (slice(None) if axis in shown else 0 for axis in (0, 2))
    return level[t, channel, z]


def _place(position: "Position", shown: Sequence[int]) -> dict[str, Any]:
    from napari_vstain.core.data.lengths import drawn

    known = position.spacing_um
    axes = [*shown, 3, 4]
    scale = (1.0, 1.0, *drawn(known))
    translate = (0.0, 0.0, *(position.translation_um if known else (0.0, 0.0, 0.0)))
    return {
        "scale": [scale[axis] for axis in axes],
        "translate": [translate[axis] for axis in axes],
        "units": ["um" if axis >= 2 and known and known[axis - 2] else "pixel" for axis in axes],
        "axis_labels": ["tczyx"[axis] for axis in axes],
    }


def _measured_limits(level: Any) -> tuple[float, float]:
    """Return contrast limits from the middle frame, when the store gives none."""
    import numpy as np

    middle = tuple(size // 2 for size in level.shape[:-2])
    pixels = np.asarray(level[middle])[::4, ::4].astype(float)
    finite = pixels[np.isfinite(pixels)]
    low, high = np.percentile(finite, (0.5, 99.8)) if finite.size else (0.0, 1.0)
    return (float(low), float(high)) if low < high else (float(low), float(low) + 1.0)


def _is_ours(folder: Path) -> bool:
    if not any((folder / name).is_file() for name in ("zarr.json", ".zattrs")):
        return False
    from napari_vstain.core.data.zarr_groups import ome_attributes, read_attributes
    from napari_vstain.core.errors import DatasetError

    try:
        attributes = read_attributes(folder)
    except DatasetError:
        return False
    ome = ome_attributes(attributes)
    return "plate" in ome or ("vstain" in attributes and "multiscales" in ome)


def _only(path: str | Sequence[str]) -> Path:
    return Path(path if isinstance(path, str) else path[0])
