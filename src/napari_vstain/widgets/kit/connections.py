"""Connections that end with a widget: to the session's signals and napari's events, which live longer than it."""

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtWidgets import QWidget

Connection = tuple[SignalInstance, WeakMethod[Callable[..., Any]]]
_waiting: set[Callable[..., None]] = set()
"""What is to be called when a widget is destroyed, held from outside.

Held by nothing but Qt, a function is garbage together with its widget; the collector may empty it first, and Qt then
calls a function that has no variables any more, which ends the process.
"""


def when_destroyed(widget: QWidget, function: Callable[[], None]) -> None:
    """Call a function, which holds no widget, when Qt deletes a widget."""

    def called(*_: object) -> None:
        _waiting.discard(called)
        function()

    _waiting.add(called)
    widget.destroyed.connect(called)


def connect(signal: SignalInstance, slot: Callable[..., Any], connections: list[Connection]) -> None:
    """Connect a method and note it for its `disconnector`, which does not keep the method's owner alive."""
    signal.connect(slot)
    connections.append((signal, WeakMethod(slot)))


def disconnector(connections: list[Connection]) -> Callable[[], None]:
    """Return what disconnects them all; it holds no widget."""

    def disconnect() -> None:
        for signal, reference in connections:
            if (slot := reference()) is not None:
                signal.disconnect(slot, missing_ok=True)
        connections.clear()

    return disconnect


def event_disconnector(emitter: Any, reference: WeakMethod[Callable[..., Any]]) -> Callable[[], None]:
    """Return what disconnects a method from one of napari's events; it holds no widget."""

    def untie() -> None:
        if (slot := reference()) is not None:
            emitter.disconnect(slot)

    return untie
