"""Channels are known by their names: names that are missing or alike become different ones on reading."""

from collections import Counter
from collections.abc import Sequence


def told_apart(names: Sequence[str | None]) -> tuple[str, ...]:
    """Return one name a channel, each another: ``Channel 1`` for none, ``GFP 1`` and ``GFP 2`` for twice ``GFP``.

    Names that are all there and all different are returned as they are.
    """
    given = [name if name and name.strip() else f"Channel {index}" for index, name in enumerate(names)]
    count = Counter(given)
    taken = {name for name in given if count[name] == 1}
    result = []
    for name in given:
        number, new = 0, name
        while count[name] > 1 and (not number or new in taken):
            number += 1
            new = f"{name} {number}"
        taken.add(new)
        result.append(new)
    return tuple(result)
