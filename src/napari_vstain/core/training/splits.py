"""Positions that nobody split are split by a rule: exact shares, wells kept together, the same for the same seed."""

import hashlib
from collections.abc import Sequence

from napari_vstain.core.models.split import Split, well_of

VALIDATE_SHARE = 0.15
TEST_SHARE = 0.15


def propose_split(keys: Sequence[str], seed: int = 0) -> Split:
    """Return a split of about 15 % each, at least one position, for validation and test.

    Fields of one well lie on one side, for they share cells, stain and light: a field whose neighbour was learned
    from is no unseen field. Where there are fewer than three wells there is no such split, and fields are drawn one
    by one. Of two positions the last is for validation; a single one is learned from and validated on.

    Parameters
    ----------
    keys : sequence of str
        Positions, in the dataset's order, which the parts keep; the order decides nothing else.
    seed : int
        Another seed draws other positions.
    """
    if len(keys) < 3:
        return Split((min(keys),), (max(keys),))
    wells = {well_of(key) for key in keys}
    by_group: dict[str, list[str]] = {}
    for key in keys:
        by_group.setdefault(well_of(key) if len(wells) > 2 else key, []).append(key)
    sizes = {group: len(by_group[group]) for group in sorted(by_group, key=lambda group: _draw(group, seed))}
    del sizes[max(sizes, key=lambda group: sizes[group])]  # the largest is always learned from
    test = _drawn(sizes, TEST_SHARE * len(keys), spare=1)
    validate = _drawn({group: size for group, size in sizes.items() if group not in test}, VALIDATE_SHARE * len(keys))
    part = {key: "test" if group in test else "validate" if group in validate else "train"
            for group, members in by_group.items() for key in members}  # fmt: skip
    return Split(*(tuple(key for key in keys if part[key] == name) for name in ("train", "validate", "test")))


def toggle_part(split: Split, keys: Sequence[str], key: str, part: str, together: bool = True) -> Split:
    """Return a split in which a position plays another part, or, if it plays that part alone, none.

    Parameters
    ----------
    keys : sequence of str
        All positions, in the dataset's order, which the parts keep.
    part : str
        ``train``, ``validate`` or ``test``. A position plays one part; the only one there is may play two.
    together : bool
        Whether all fields of its well come with it; with fewer than three wells it comes alone, as it is proposed.
    """
    wells = {well_of(other) for other in keys}
    moved = {other for other in keys if together and len(wells) > 2 and well_of(other) == well_of(key)} | {key}
    there = {name: set(getattr(split, name)) for name in ("train", "validate", "test")}
    leaves = key in there[part]
    if len(keys) > 1:
        there = {name: members - moved for name, members in there.items()}
    there[part] = there[part] - moved if leaves else there[part] | moved
    return Split(*(tuple(other for other in keys if other in members) for members in there.values()))


def _drawn(sizes: dict[str, int], wanted: float, spare: int = 0) -> set[str]:
    """Return groups, in the order drawn, as long as each brings the number of positions nearer to `wanted`.

    At least one is returned, the smallest if all are too large; `spare` are left.
    """
    chosen: set[str] = set()
    count = 0
    for group, size in sizes.items():
        if abs(count + size - wanted) < abs(count - wanted) and len(chosen) < len(sizes) - spare:
            chosen.add(group)
            count += size
    return chosen or {min(sizes, key=lambda group: sizes[group])}


def _draw(group: str, seed: int) -> bytes:
    """Return what groups are sorted by: chance, yet the same on every machine."""
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()
