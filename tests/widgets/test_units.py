"""The list of all units is read off the main thread, and never put in place of one that is in use."""

import pint
import pytest
from pint.registry import LazyRegistry

from napari_vstain.core.process_tweaks import read_units, use_units


@pytest.fixture(autouse=True)
def unread():
    """The application's registry as it is before the first layer."""
    before = pint.get_application_registry().get()
    pint.set_application_registry(LazyRegistry())
    yield
    pint.set_application_registry(before)


def test_what_was_read_is_used():
    registry = read_units()
    use_units(registry)
    assert pint.get_application_registry().get() is registry
    assert str(pint.get_application_registry().parse_expression("um").units) == "micrometer"
    assert read_units() is None


def test_a_registry_that_is_in_use_stays():
    registry = read_units()
    pixel = pint.get_application_registry().pixel
    use_units(registry)
    assert pint.get_application_registry().get() is not registry
    assert pixel == pint.get_application_registry().pixel
    use_units(None)
    assert pixel == pint.get_application_registry().pixel


def test_the_warm_up_reads_them(qtbot, context):
    from napari_vstain.widgets.warmup import WarmUp

    warm = WarmUp(context.pump, context.session, ["colorsys"])
    warm.start()
    qtbot.waitUntil(lambda: warm.done)
    assert read_units() is None
