"""A training leaves the process as it found it."""

import logging
import warnings

from napari_vstain.core.training.stage import _quiet


def test_a_training_takes_its_warning_filters_and_log_levels_back():
    logger = logging.getLogger("lightning.pytorch")
    before, level = list(warnings.filters), logger.level
    with _quiet():
        assert len(warnings.filters) > len(before)
    assert list(warnings.filters) == before
    assert logger.level == level


def test_a_filter_that_somebody_else_sets_meanwhile_stays():
    with warnings.catch_warnings():
        with _quiet():
            warnings.filterwarnings("ignore", message="somebody else's")
        assert any(each[1] and each[1].pattern == "somebody else's" for each in warnings.filters)
