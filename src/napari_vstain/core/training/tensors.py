"""A batch: sources, and by task the targets and how much each of their pixels counts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_vstain.core.arrays import Array
from napari_vstain.core.training.tasks import Task


class Batch(NamedTuple):
    """What a network learns from at once. Targets are without the patches' margin, which is context.

    A tuple, which cannot be changed either: Lightning moves tuples to a device and another precision by itself, and
    refuses frozen dataclasses there.
    """

    source: Tensor
    """(B, C, Y, X) or (B, C, Z, Y, X), float32, normalized."""
    targets: Mapping[str, Tensor]
    """By task; of a task whose head gives one slice, Z is 1."""
    weights: Mapping[str, Tensor]
    """By task, bool or float, shaped as its target: 0 where nothing is known. A task of which all is known has none."""


def to_batch(patches: Array, sources: int, targets: Sequence[str], tasks: Sequence[Task], margin: int = 0) -> Batch:
    """Return patches as a batch; a stack of one slice loses its Z, and what is not a number becomes 0, of weight 0.

    Parameters
    ----------
    patches : (B, C, Z, Y, X)
        Sources, then `targets`, float32.
    margin : int
        Pixels in Y and X on each side that are context only.
    """
    finite = np.isfinite(patches)
    whole = bool(finite.all())
    values = patches if whole else np.where(finite, patches, np.float32(0))
    seen = finite[:, :sources].all(1, keepdims=True)
    inner = (..., slice(margin, patches.shape[-2] - margin), slice(margin, patches.shape[-1] - margin))
    made: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    for task in tasks:
        channels = [sources + targets.index(name) for name in task.head.channels]
        made[task.head.task] = _tensor(_flattened(values[:, channels][inner], task), patches)
        if not whole:
            known: Any = (seen & finite[:, channels])[inner]
            by_slice = task.flat and task.truth.flatten != "middle"
            known = known.all(2, keepdims=True) if by_slice else _flattened(known, task)
            weights |= {} if known.all() else {task.head.task: _tensor(known, patches)}
    return Batch(_tensor(values[:, :sources], patches), made, weights)


def _flattened(values: Any, task: Task) -> Any:
    """Return the slices, (B, C, Z, Y, X), that a task's head gives."""
    if not task.flat:
        return values
    if task.truth.flatten == "middle":
        middle = values.shape[2] // 2
        return values[:, :, middle : middle + 1]
    return getattr(values, task.truth.flatten)(axis=2, keepdims=True)


def _tensor(values: Any, patches: Array) -> Tensor:
    return torch.from_numpy(values[:, :, 0] if patches.shape[2] == 1 else values)
