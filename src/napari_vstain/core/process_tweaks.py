"""All that we change for the whole process, and why; ``VSTAIN_TWEAKS=0`` in the environment leaves all as it is.

A `Tweak` is made for the first who holds it and undone after the last; what somebody else has changed meanwhile
stays. What cannot be undone says why. No tweak changes a number, or what a file holds.
"""

import atexit
import gc
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import RLock
from typing import Any

SWITCH = "VSTAIN_TWEAKS"
TURN_S = 0.001
"""How long the window waits at most for its turn while another thread runs Python; 5 ms by default."""

Undo = Callable[[], None]


def allowed() -> bool:
    """Return False where the user wants the process left as it is."""
    return os.environ.get(SWITCH, "1") != "0"


class Tweak:
    """A change of the process that lasts while anybody holds it: ``with tweak(): …``, on any number of threads.

    Undone by each for himself, a change would last for ever: the second, who came while the first was there, takes
    the changed state for the one to go back to.
    """

    def __init__(self, make: Callable[[], Undo]) -> None:
        self._make, self._lock = make, RLock()  # garbage may let go of one in the middle
        self._holders = 0
        self._undo: Undo = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold it inside; does nothing where no tweak is allowed."""
        if not allowed():
            yield
            return
        with self._lock:
            if not self._holders:
                self._undo = self._make()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._undo()


# What others say


def quiet_for_good() -> None:
    """Keep the warnings and notes of third parties off a terminal that shows progress, or one sentence.

    Not undone: the process is the command line's own, and some libraries warn when it ends.
    """
    if allowed():
        _hush("terminal", (*_TRAINERS, *_EXPORTERS), [_ANY])


def _hush(name: str, loggers: Sequence[str], advice: Iterable[tuple[type[Warning], str]]) -> Undo:
    """Let loggers say errors only, and no warnings of a class whose text begins with a regular expression."""
    filters = []
    for category, message in advice:
        # The comment makes the filter ours: equal filters are one to Python, and we would take away the user's.
        warnings.filterwarnings("ignore", message=f"(?#vstain {name}){message}", category=category)
        filters.append(warnings.filters[0])
    levels = [(logger, logger.level) for logger in map(logging.getLogger, loggers)]
    for logger, _ in levels:
        logger.setLevel(logging.ERROR)

    def undo() -> None:
        for each in filters:  # not catch_warnings: it would take back what another thread has set meanwhile
            with suppress(ValueError):
                warnings.filters.remove(each)  # type: ignore[attr-defined]
        for logger, level in levels:
            if logger.level == logging.ERROR:
                logger.setLevel(level)

    return undo


def _no_prints() -> Undo:
    before, ours = sys.stdout, io.StringIO()
    sys.stdout = ours

    def undo() -> None:
        if sys.stdout is ours:
            sys.stdout = before

    return undo


def _no_records(logger: str) -> Undo:
    def drop(record: logging.LogRecord) -> bool:
        return False

    log = logging.getLogger(logger)
    log.addFilter(drop)
    return lambda: log.removeFilter(drop)


_ANY = (Warning, "")
_TRAINERS = ("lightning.pytorch", "lightning.fabric", "lightning")
_EXPORTERS = ("torch.onnx", "onnxscript")
_ADVICE: tuple[tuple[type[Warning], str], ...] = (
    (UserWarning, r".*does not have many workers"),
    (UserWarning, r"Experiment logs directory .* exists and is not empty"),
    (UserWarning, r"Checkpoint directory .* exists and is not empty"),
    (UserWarning, r"The number of training batches .* is smaller than the logging interval"),
    (UserWarning, r"You defined a `validation_step` but have no `val_dataloader`"),
    (UserWarning, r".*GPU available but not used"),
    (UserWarning, r"The dirpath has changed from"),
    (UserWarning, r"You're resuming from a checkpoint that ended before the epoch ended"),  # our batches go on there
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    (UserWarning, r".*Starting from v1.9.0, `tensorboardX`"),
)

quiet_training = Tweak(partial(_hush, "training", _TRAINERS, _ADVICE))
"""Lightning does not talk while a training runs: what matters is reported, its advice is for programmers."""
quiet_checkpoints = Tweak(partial(_hush, "checkpoints", (), [_ANY]))
"""torch does not warn of a file that it takes for a checkpoint: whether it is one is said as an error."""
quiet_export = Tweak(partial(_hush, "export", _EXPORTERS[:1], [_ANY]))
"""The ONNX exporter does not tell of optional parts that are missing; its errors still come as exceptions."""
no_prints = Tweak(_no_prints)
"""Nothing is printed: the exporter that traces prints what it thinks of a network. Also of other threads."""
quiet_tiff = Tweak(partial(_no_records, "tifffile"))
"""What tifffile logs of a file stays off the terminal: what matters of it is in the sentence."""


# How the window stays quick


def _quick_turns() -> Undo:
    before, ours = sys.getswitchinterval(), min(sys.getswitchinterval(), TURN_S)
    sys.setswitchinterval(ours)

    def undo() -> None:
        if sys.getswitchinterval() == ours:
            sys.setswitchinterval(before)

    return undo


quick_turns = Tweak(_quick_turns)
"""The window waits `TURN_S` for its turn: what a thread computes in Python is felt less while one pans and zooms."""


def freeze_objects() -> None:
    """Let the garbage collector search nothing that is there now; `thaw_objects` undoes it.

    A full collection walks every object there is: 300 ms, in which the window stands still, for the half million that
    torch, pandas and the like bring. It is everybody's garbage that stays, so thaw when something should be collected.
    """
    if allowed():
        gc.freeze()


def thaw_objects() -> None:
    """Let everything be collected again."""
    if allowed():
        gc.unfreeze()


def leave_quickly() -> None:
    """Search nothing for garbage when the process ends, which then takes 0.7 s instead of 3.

    Not undone: it changes nothing before the end.
    """
    if allowed():
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)


def read_units() -> Any | None:
    """Return a registry of all units as pint makes it, on any thread; None when the application has one.

    napari reads the list of all units with its first layer, and stands still for 0.2 s.
    """
    if not allowed():
        return None
    import pint

    return pint.UnitRegistry(on_redefinition="raise") if _unread() else None


def use_units(registry: Any | None) -> None:
    """Make a registry the application's, on the main thread, unless one was needed meanwhile.

    Not undone: units of two registries do not compare, and layers have some of this one by then.
    """
    import pint

    if registry is not None and _unread():
        pint.set_application_registry(registry)


def _unread() -> bool:
    import pint
    from pint.registry import LazyRegistry

    now = pint.get_application_registry()
    return isinstance(now.get(), LazyRegistry)  # it becomes another class when it is first used
