"""What the tests of Predict share: its section, with a model in it."""

import pytest

from napari_vstain.widgets.docks.predict import PredictSection


@pytest.fixture
def section(context, qtbot, checkpoint):
    """Predict with the small untrained model; a test file that needs another one has its own."""
    made = PredictSection(context)
    qtbot.addWidget(made)
    made.use_file(checkpoint)
    qtbot.waitUntil(lambda: context.session.model is not None, timeout=120_000)
    return made
