"""A window of slices slides through a stack (2.5D): every slice is covered, whatever the step."""

from napari_vstain.core.errors import TilingError


def window_starts(depth: int, window: int, step: int = 1) -> list[int]:
    """Return the first slice of each window, ascending; the last window ends with the stack.

    A stack of fewer slices than the window has one window, which begins at slice 0 and sees the rest reflected.

    Raises
    ------
    TilingError
        When the step would leave slices uncovered.
    """
    if not 1 <= step <= window:
        raise TilingError("z step", step, f"must be 1 to {window} slices, the model's window", "choose another step")
    last = max(depth - window, 0)
    return [*range(0, last, step), last]


def centred_starts(first: int, stop: int, window: int) -> list[int]:
    """Return the first slice of the window centred on each of the slices ``first … stop - 1``."""
    return [z - window // 2 for z in range(first, stop)]


def covering(starts: list[int], window: int, first: int, stop: int) -> list[int]:
    """Return those windows that hold any of the slices ``first … stop - 1``."""
    return [start for start in starts if start < stop and start + window > first]
