"""Which axes an open image has: its labels say so, or a person; and whether a network can take it at all."""

from typing import Any

_WORDS = {
    **dict.fromkeys(("t", "time", "frame", "frames", "timepoint", "timepoints"), "T"),
    **dict.fromkeys(("c", "ch", "channel", "channels", "colour", "color", "wavelength"), "C"),
    **dict.fromkeys(("z", "depth", "slice", "slices", "plane", "planes", "focus"), "Z"),
    "y": "Y",
    "x": "X",
}
FEW = 4
"""Up to so many planes may as well be channels: of an image whose axes have no labels a person must say it."""
CHOICES = {
    3: {"ZYX": "slices (z)", "TYX": "time points (t)", "CYX": "channels (c)"},
    4: {"TZYX": "time, then slices", "CZYX": "channels, then slices", "TCYX": "time, then channels"},
}
"""What the axes before Y and X may be, by the number of axes."""


def labelled_axes(layer: Any) -> str:
    """Return the axes that an image's labels name, a part of ``TCZYX``; "" where they name none."""
    labels = [str(label).strip().casefold() for label in getattr(layer, "axis_labels", ())]
    lead = "".join(_WORDS.get(label, "?") for label in labels[:-2])
    last = "".join(_WORDS.get(label, "?") for label in labels[-2:])
    if "?" in lead or (not lead and layer.ndim > 2):
        return ""
    return lead + (last if set(last) & set("TCZ") else "YX")


def assumed_axes(layer: Any) -> str:
    """Return the axes of an image whose labels name none; "" where they could be several."""
    lead = layer.data[0].shape[:-2] if layer.multiscale else layer.data.shape[:-2]
    return "" if any(1 < n <= FEW for n in lead) else "TZYX"[-layer.ndim :]


def refusal(layer: Any, axes: str) -> str:
    """Return why an Image layer cannot be predicted from, in one sentence; "" when it can, or its axes are not said.

    Parameters
    ----------
    axes : str
        Its axes, as its labels or a person name them.
    """
    name = layer.name
    if layer.rgb:
        return f"{name} is a colour (RGB) image: right-click it, choose Split RGB, and predict from one channel."
    if layer.ndim < 2:
        return f"{name} has one axis only: open an image."
    if "C" in axes:
        return f"{name} holds several channels: right-click it, choose Split Stack, and predict from one of them."
    if layer.ndim > 4:
        return f"{name} has {layer.ndim} axes: an image has at most time, z, y and x, so open a part of it."
    if axes and axes not in ("YX", "ZYX", "TYX", "TZYX"):
        order = ", ".join(axes.casefold())
        return f"{name} has the axes {order}: bring them into the order time, z, y, x."
    return ""
