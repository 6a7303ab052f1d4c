"""Ways to spoil a file: bytes that are flipped, cut or put in, and values that stand where they do not belong."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD: tuple[Callable[[], Any], ...] = tuple(
    (lambda value=value: value)
    for value in (
        None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, 10**30, -(10**30), 2**31, 2**63, float("nan"), float("inf"), "",
        " ", "0", "-1", "../../..", "/etc/passwd", "..", ".", "a/b", "\x00", "\n", "é\u202e", "\ud800", "a" * 5000,
        "NaN", "${a}", [], {}, [None], {"a": None}, [[[]]], [1, 2, 3], ["t", "c"], {"path": "0"}, [0] * 1000,
    )
)  # fmt: skip


def deep(levels: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def spoil_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return bytes that were flipped, cut short, emptied, repeated or overwritten in a few places."""
    spoiled = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(spoiled) + 1)
        match rng.randrange(7):
            case 0 | 1 if spoiled:
                spoiled[min(at, len(spoiled) - 1)] ^= 1 << rng.randrange(8)
            case 2:
                del spoiled[at:]
            case 3:
                del spoiled[at : at + rng.randrange(1, 16)]
            case 4:
                spoiled[at:at] = rng.randbytes(rng.randrange(1, 16))
            case 5:
                spoiled[at : at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80", b"\xff\xff\xff\x7f"))
            case _:
                spoiled[at:at] = spoiled[at : at + rng.randrange(1, 64)]
    return bytes(spoiled)


def spoil_value(value: Any, rng: random.Random) -> Any:
    """Return nested mappings and lists of which one to three items were replaced, dropped, doubled or moved."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(ODD)()
        holder, key = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.append(holder[key])
            case 2 if isinstance(holder, dict):
                holder[rng.choice(("extra", "", "0", "é"))] = holder.pop(key)
            case 3:
                holder[key] = rng.choice(places)[0] if rng.random() < 0.2 else deep(rng.choice((3, 60)))
                json.dumps(value) if not _circular(value) else holder.__setitem__(key, [])
            case _:
                holder[key] = rng.choice(ODD)()
    return value


def spoil_json(path: Path, rng: random.Random) -> None:
    """Spoil the values of a JSON file; one in twenty is not even that any more."""
    if rng.random() < 0.05:
        path.write_text(rng.choice(("", "[]", "null", "3", "{", "[" * 100_000, '{"a":' * 5000, "\ufeff{}", "{}{}")))
        return
    value = spoil_value(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(value, ensure_ascii=True))


def add_unknown(value: Any, rng: random.Random) -> Any:
    """Return metadata with keys that nobody knows, which are no reason to refuse it."""
    holders = [value, *(holder[key] for holder, key in _places(value) if isinstance(holder[key], dict))]
    for _ in range(3):
        rng.choice(holders)[f"x-{rng.randrange(1000)}"] = rng.choice((None, 1, "text", [1], {"a": {"b": []}}))
    return value


def _places(value: Any) -> Any:
    """Yield every holder and key of nested values."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _circular(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return True
    return False
