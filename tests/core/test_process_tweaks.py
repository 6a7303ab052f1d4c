"""What is changed for the whole process is undone after the last who needs it, and left alone where a user says so."""

import gc
import logging
import re
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path

import pytest

import napari_vstain
from napari_vstain.core import process_tweaks
from napari_vstain.core.process_tweaks import Tweak, freeze_objects, no_prints, quick_turns, quiet_training

TWEAKS = {name: tweak for name, tweak in vars(process_tweaks).items() if isinstance(tweak, Tweak)}
LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric", "torch.onnx", "onnxscript", "tifffile")
TRICKS = re.compile(
    r"setswitchinterval|\bgc\.\w+\(|atexit\.register\(gc|warnings\.(filterwarnings|simplefilter|catch_warnings)"
    r"|redirect_std|sys\.std(out|err) =|set_application_registry|getLogger\([^)]*\)\.(setLevel|addFilter)"
)
"""What changes something for all that runs in the process."""


def process():
    """Return what the tweaks change."""
    loggers = [(logger.level, list(logger.filters)) for logger in map(logging.getLogger, LOGGERS)]
    return list(warnings.filters), loggers, sys.getswitchinterval(), sys.stdout, gc.get_freeze_count()


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", TWEAKS)
def test_a_tweak_changes_something_and_takes_it_back(name):
    before = process()
    with TWEAKS[name]():
        assert process() != before
    assert process() == before


@pytest.mark.parametrize("name", TWEAKS)
@pytest.mark.parametrize("first", [0, 1])
def test_two_who_hold_one_leave_the_process_as_it_was_whoever_goes_first(name, first):
    before = process()
    holders = [ExitStack(), ExitStack()]
    for holder in holders:
        holder.enter_context(TWEAKS[name]())
    changed = process()
    holders[first].close()
    assert process() == changed != before
    holders[1 - first].close()
    assert process() == before


def test_a_failure_inside_takes_it_back_too():
    before = process()
    with pytest.raises(KeyError), quiet_training():
        raise KeyError
    assert process() == before


@pytest.mark.parametrize("name", TWEAKS)
def test_switched_off_nothing_is_changed(name, monkeypatch):
    monkeypatch.setenv(process_tweaks.SWITCH, "0")
    before = process()
    with TWEAKS[name]():
        assert process() == before


def test_switched_off_nothing_is_changed_for_good_either(monkeypatch):
    pytest.importorskip("pint")
    monkeypatch.setenv(process_tweaks.SWITCH, "0")
    monkeypatch.setattr(process_tweaks.atexit, "register", lambda *_: pytest.fail("something was registered"))
    before = process()
    process_tweaks.quiet_for_good()
    process_tweaks.leave_quickly()
    freeze_objects()
    assert process_tweaks.read_units() is None
    assert process() == before


def test_switched_off_what_another_has_frozen_stays_frozen(monkeypatch):
    gc.freeze()
    frozen = gc.get_freeze_count()
    monkeypatch.setenv(process_tweaks.SWITCH, "0")
    process_tweaks.thaw_objects()
    assert gc.get_freeze_count() == frozen > 0


def test_a_filter_that_a_user_set_with_the_same_words_stays():
    with warnings.catch_warnings():
        for category, message in process_tweaks._ADVICE:
            warnings.filterwarnings("ignore", message=message, category=category)
        before = list(warnings.filters)
        with quiet_training():
            pass
        assert list(warnings.filters) == before


def test_what_somebody_else_sets_meanwhile_stays():
    mine, interval = sys.stdout, sys.getswitchinterval()
    logger = logging.getLogger("lightning")
    with warnings.catch_warnings():
        with quiet_training(), quick_turns(), no_prints():
            warnings.filterwarnings("ignore", message="somebody else's")
            logger.setLevel(logging.DEBUG)
            sys.setswitchinterval(0.5)
            sys.stdout = sys.__stdout__
        assert any(each[1] and each[1].pattern == "somebody else's" for each in warnings.filters)
    assert logger.level == logging.DEBUG
    assert sys.getswitchinterval() == 0.5
    assert sys.stdout is sys.__stdout__
    sys.stdout = mine
    logger.setLevel(logging.NOTSET)
    sys.setswitchinterval(interval)


def test_all_tricks_stand_in_one_file():
    root = Path(napari_vstain.__file__).parent
    elsewhere = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        if path != Path(process_tweaks.__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if TRICKS.search(line)
    ]
    assert not elsewhere
