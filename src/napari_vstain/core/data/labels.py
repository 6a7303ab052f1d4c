"""Label images beside a position's pixels, in the group ``labels`` that OME-NGFF gives them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_vstain.core.arrays import Image
from napari_vstain.core.data.containment import inside
from napari_vstain.core.data.ngff import parse_image
from napari_vstain.core.data.pixels import Pixels
from napari_vstain.core.data.zarr_groups import is_node, ome_attributes, read_attributes
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import reading

_GROUP = "labels"


def label_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the label images of the position at `folder`; none where it has none.

    Raises
    ------
    DatasetError
        When what lists them cannot be read.
    """
    group = folder / _GROUP
    if not is_node(group):
        return ()
    with reading("labels", group, "has metadata that cannot be read"):
        listed: Any = ome_attributes(read_attributes(group)).get("labels")
    if not isinstance(listed, list):
        raise DatasetError("labels", group, "lists no label image in its metadata (labels)", "restore it from a copy")
    return tuple(map(str, listed))


class LabelImage:
    """One label image: each object its number, 0 for what is none."""

    def __init__(self, folder: Path, name: str) -> None:
        names = label_names(folder)
        if name not in names:
            has = f"has {', '.join(names)}" if names else "has none"
            raise DatasetError("labels", name, f"{folder} {has}", "choose labels that are there")
        self.folder = inside(folder / _GROUP, name)
        with reading("labels", self.folder, "has metadata that cannot be read"):
            said: Mapping[str, Any] = ome_attributes(read_attributes(self.folder))
            metadata = parse_image(said, self.folder)
        self.pixels = Pixels(inside(self.folder, metadata.levels[0]), metadata.axes)
        kind = self.pixels.dtype.kind
        if kind not in "ui":
            rule = f"has values of type {self.pixels.dtype}, which number no objects"
            raise DatasetError("labels", self.folder, rule, "store whole numbers")
        if self.pixels.shape[1] != 1:
            rule = f"has {self.pixels.shape[1]} channels"
            raise DatasetError("labels", self.folder, rule, "store each channel's labels under a name of their own")

    def read(self, t: int = 0, z: slice = slice(None), y: slice = slice(None), x: slice = slice(None)) -> Image:
        """Return numbers of objects, (Z, Y, X), in the store's own type.

        Raises
        ------
        DatasetError
            When a chunk is damaged.
        """
        return np.asarray(self.pixels[slice(t, t + 1), slice(0, 1), z, y, x][0, 0])
