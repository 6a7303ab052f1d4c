"""What a window changes for the whole process goes with it, and is left alone where a user says so."""

import gc

import pytest

from napari_vstain.core.process_tweaks import SWITCH, Tweak
from napari_vstain.widgets.viewer_context import ViewerContext
from napari_vstain.widgets.warmup import WarmUp


def test_what_a_window_changes_goes_with_it(context, monkeypatch):
    turns = []

    def make():
        turns.append("quick")
        return lambda: turns.append("as before")

    monkeypatch.setattr("napari_vstain.widgets.viewer_context.quick_turns", Tweak(make))
    gc.freeze()
    another = ViewerContext(context.viewer)
    assert turns == ["quick"]
    another.close()
    another.close()
    assert turns == ["quick", "as before"]
    assert gc.get_freeze_count() == 0


def test_switched_off_a_window_changes_nothing(context, monkeypatch, qtbot):
    gc.unfreeze()
    monkeypatch.setenv(SWITCH, "0")
    quick_turns = Tweak(lambda: pytest.fail("turns were made quick"))
    monkeypatch.setattr("napari_vstain.widgets.viewer_context.quick_turns", quick_turns)
    another = ViewerContext(context.viewer)
    warm = WarmUp(another.pump, another.session, ["colorsys"])
    warm.start()
    qtbot.waitUntil(lambda: warm.done)
    assert gc.get_freeze_count() == 0
    another.close()
