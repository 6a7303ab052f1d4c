"""The warm-up: what it imports, what it measures, and that its frozen objects can still be garbage."""

import gc
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import napari_vstain
from napari_vstain.core.process_tweaks import thaw_objects
from napari_vstain.widgets.warmup import HEAVY, WarmUp


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()


def test_the_warm_up_imports_in_the_background_and_measures_its_gap(qtbot, context):
    sys.modules.pop("colorsys", None)
    warm = WarmUp(context.pump, context.session, ["colorsys", "no_such_module_anywhere"])
    warm.start()
    qtbot.waitUntil(lambda: warm.done)
    assert "colorsys" in sys.modules
    assert warm.gap_max_ms > 0


def test_what_was_imported_is_not_searched_for_garbage(qtbot, context):
    gc.unfreeze()
    warm = WarmUp(context.pump, context.session, ["colorsys"])
    warm.start()
    qtbot.waitUntil(lambda: warm.done)
    assert gc.get_freeze_count() > 100_000  # napari alone brings more
    thaw_objects()
    assert gc.get_freeze_count() == 0


def test_a_layer_older_than_the_modules_gives_its_memory_back_when_removed(qtbot, context):
    layer = weakref.ref(context.viewer.add_image(np.zeros((64, 64), np.float32), name="old"))
    context.attach(context.viewer.window.add_plugin_dock_widget("napari-vstain", "Data")[1])
    context.warm_up.start()
    qtbot.waitUntil(lambda: context.warm_up.done, timeout=120_000)
    context.viewer.layers.remove("old")
    qtbot.wait(50)
    gc.collect()
    assert layer() is None


@pytest.mark.parametrize("module", HEAVY)
def test_the_warm_up_loads_nothing_that_no_step_imports(module):
    folder, _, name = module.rpartition(".")
    ways = [f"import {module}", f"from {module}"] + ([f"from {folder} import {name}"] if folder else [])
    sources = (path for path in Path(napari_vstain.__file__).parent.rglob("*.py") if path.name != "warmup.py")
    lines = (line.strip() for path in sources for line in path.read_text(encoding="utf-8").splitlines())
    assert any(line.startswith(tuple(ways)) for line in lines)
