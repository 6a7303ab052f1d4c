"""What the user looks at, in pixels of an image: the part on the canvas, the slice, a drawn rectangle."""

from typing import Any

import numpy as np

from napari_vstain.core.errors import DatasetError
from napari_vstain.widgets.compat import corner_pixels, full_resolution

Rectangle = tuple[slice, slice]
"""(Y, X), in pixels of the full resolution."""


def visible(layer: Any) -> Rectangle:
    """Return the part of an image on the canvas; the whole image when none of it is."""
    low, high = corner_pixels(layer)[:, -2:]
    return _clipped(low, high + 1, full_resolution(layer).shape[-2:])


def slices_shown(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return where the sliders stand on a layer's axes before Y and X, in its pixels."""
    shape = full_resolution(layer).shape
    if len(shape) == 2:
        return ()
    world = np.asarray(viewer.dims.point)[-len(shape) :]
    place = layer.world_to_data(world)[: len(shape) - 2]
    return tuple(int(min(max(round(at), 0), n - 1)) for at, n in zip(place, shape[:-2], strict=True))


def seen(viewer: Any, layer: Any, axes: str = "TZYX") -> tuple[slice, slice, slice, slice]:
    """Return what is looked at of an image whose axes are the last of `axes`: (T, Z, Y, X) in its pixels."""
    y, x = visible(layer)
    lead = {
        axis: slice(at, at + 1) for axis, at in zip(axes[-layer.ndim : -2], slices_shown(viewer, layer), strict=True)
    }
    return lead.get("T", slice(None)), lead.get("Z", slice(None)), y, x


def drawn(viewer: Any, layer: Any) -> tuple[slice, slice, slice, slice]:
    """Return the region that is drawn in the active Shapes layer, else in the topmost, (T, Z, Y, X) in pixels.

    Raises
    ------
    DatasetError
        When nothing is drawn, or it lies beside the image.
    """
    from napari.layers import Shapes

    shapes = [other for other in viewer.layers if isinstance(other, Shapes)]
    if not shapes:
        raise DatasetError("region", None, "nothing is drawn", "add a Shapes layer and draw a rectangle")
    active = viewer.layers.selection.active
    return slice(None), slice(None), *drawn_rectangle(active if active in shapes else shapes[-1], layer)


def drawn_rectangle(shapes: Any, layer: Any) -> Rectangle:
    """Return the bounding box of the selected shape (else the last one) in pixels of an image.

    Raises
    ------
    DatasetError
        When nothing is drawn, or it lies beside the image.
    """
    corners = _chosen_shape(shapes)
    world = np.stack([shapes.data_to_world(corner)[-2:] for corner in corners])
    lead = [0.0] * (full_resolution(layer).ndim - 2)
    pixels = np.stack([layer.world_to_data([*lead, *corner])[-2:] for corner in world])
    low, high = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0))
    height, width = full_resolution(layer).shape[-2:]
    if low[0] >= height or low[1] >= width or min(high) <= 0:
        raise DatasetError("region", shapes.name, "lies beside the image", "draw a rectangle on the image")
    return _clipped(low, high, (height, width))


def _chosen_shape(shapes: Any) -> Any:
    if not len(shapes.data):
        raise DatasetError("region", shapes.name, "holds no shape", "draw a rectangle on the image")
    selected = sorted(shapes.selected_data)
    return shapes.data[selected[-1] if selected else -1]


def _clipped(low: Any, high: Any, shape: tuple[int, ...]) -> Rectangle:
    parts = [
        (int(min(max(first, 0), n)), int(min(max(stop, 0), n))) for first, stop, n in zip(low, high, shape, strict=True)
    ]
    if any(first >= stop for first, stop in parts):
        return slice(0, shape[0]), slice(0, shape[1])
    (top, bottom), (left, right) = parts
    return slice(top, bottom), slice(left, right)
