"""Positions that a training cannot use are found before it begins, each with its reason; the others are alike."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isclose

from napari_vstain.core.arrays import Spacing
from napari_vstain.core.data import Dataset, Position
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.left_out import LeftOut
from napari_vstain.core.models.spec import Normalization
from napari_vstain.core.models.split import Split
from napari_vstain.core.preprocessing import unusable
from napari_vstain.core.progress import Progress
from napari_vstain.core.training.patch_settings import PatchSettings

_SAME_SIZE = 0.02
"""Relative difference up to which two voxel sizes count as one."""


def broken_positions(dataset: Dataset, asked: Split | None) -> list[LeftOut]:
    """Return the positions that the dataset lists and that cannot be opened: those asked for, or all."""
    if asked is None:
        return list(dataset.unusable.values())
    found = []
    for key in dict.fromkeys((*asked.train, *asked.validate, *asked.test)):
        known = dataset.unusable.get(key) or dataset.unusable.get(key.rpartition("/")[0])
        if known and key not in dataset.positions:
            found.append(LeftOut(key, known.reason))
    return found


def misfits(dataset: Dataset, keys: Sequence[str], channels: Sequence[str], patches: PatchSettings) -> list[LeftOut]:
    """Return the positions that lack a channel, are smaller than a patch or unlike most, by their metadata alone.

    What no position has is no reason to leave out any: it is an error of the settings, which is found later.
    """
    reasons = {key: _lacks(dataset, key, channels) for key in keys}
    known = {key: dataset.positions[key] for key, reason in reasons.items() if not reason}
    if not known:
        return []
    if any(_small(position, patches) == "" for position in known.values()):
        reasons |= {key: _small(position, patches) for key, position in known.items()}
    known = {key: position for key, position in known.items() if not reasons[key]}
    dtype = Counter(position.dtype for position in known.values()).most_common(1)[0][0]
    given = [position.spacing_um for position in known.values() if position.spacing_um]
    spacing = Counter(given).most_common(1)[0][0] if given else None
    for key, position in known.items():
        if position.dtype != dtype:
            reasons[key] = f"has pixels of type {position.dtype}, the others {dtype}"
        elif spacing and position.spacing_um and not _alike(position.spacing_um, spacing, deep=patches.z_window > 1):
            reasons[key] = f"has voxels of {_said(position.spacing_um)} µm (Z, Y, X), the others {_said(spacing)} µm"
    return [LeftOut(key, reason) for key, reason in reasons.items() if reason]


def not_normalizable(
    dataset: Dataset, keys: Sequence[str], channels: Sequence[tuple[str, Normalization]], progress: Progress
) -> Iterator[LeftOut]:
    """Yield the positions of which a channel is empty, constant or otherwise not to be normalized."""
    for key in keys:
        progress.check()
        position = dataset.positions[key]
        reason = next((said for name, used in channels if (said := _content(position, name, used))), "")
        if reason:
            yield LeftOut(key, reason)
        progress.advance()


def _content(position: Position, channel: str, normalization: Normalization) -> str:
    if normalization.level != "timepoint":
        return unusable(position, channel, normalization)
    said = [unusable(position, channel, normalization, t) for t in range(position.shape[0])]
    return "" if "" in said else said[0]


def _lacks(dataset: Dataset, key: str, channels: Sequence[str]) -> str:
    try:
        missing = [name for name in channels if name not in dataset.positions[key].channels]
    except DatasetError as error:
        return f"cannot be read: {error.rule}"
    return f"has no {' and no '.join(missing)}" if missing else ""


def _small(position: Position, patches: PatchSettings) -> str:
    _, _, depth, height, width = position.shape
    inner = patches.size_px - 2 * patches.margin_px
    if min(height, width) < max(inner, patches.margin_px + 1):
        return f"is {height} x {width} px, smaller than a patch of {patches.size_px} px"
    return f"has {depth} of {patches.z_window} slices" if depth < patches.z_window else ""


def _alike(spacing: Spacing, other: Spacing, *, deep: bool) -> bool:
    axes = zip(spacing[0 if deep else 1 :], other[0 if deep else 1 :], strict=True)
    return all(a is None or b is None or isclose(a, b, rel_tol=_SAME_SIZE) for a, b in axes)


def _said(spacing: Spacing) -> str:
    return " x ".join("?" if size is None else f"{size:g}" for size in spacing)
