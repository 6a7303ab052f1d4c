"""A model that was made elsewhere is asked about in the dock, and then predicts like any other."""

import json

import numpy as np
import pytest

from napari_vstain.core.inference.elsewhere import Elsewhere
from napari_vstain.core.session import PredictorCache, chosen_model, load_model
from napari_vstain.widgets.predict import PredictSection

PATIENCE_MS = 120_000


@pytest.fixture
def section(desk, qtbot):
    made = PredictSection(desk)
    qtbot.addWidget(made)
    return made


def test_an_onnx_file_without_a_spec_is_asked_about_and_predicts(section, qtbot, desk, theirs, field):
    desk.viewer.add_image(field, name="Phase")
    section.use_file(theirs)
    qtbot.waitUntil(lambda: not section.chooser.foreign.isHidden(), timeout=PATIENCE_MS)
    assert not section.chooser.foreign.use.isEnabled()
    section.chooser.foreign.sources.setText("Phase")
    section.chooser.foreign.targets.setText(" Nuclei ")
    section.chooser.foreign.use.click()
    qtbot.waitUntil(lambda: desk.session.model is not None, timeout=PATIENCE_MS)
    assert section.chooser.foreign.isHidden()
    section.start("field")
    (layer,) = section.painting.canvases.layers
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    assert layer.name == "Nuclei_prediction"
    np.testing.assert_allclose(layer.data[50, 60], field[49:52, 59:62].mean(), rtol=1e-4)


def test_wrong_channels_are_one_sentence_and_may_be_said_again(section, qtbot, theirs):
    section.use_file(theirs)
    qtbot.waitUntil(lambda: not section.chooser.foreign.isHidden(), timeout=PATIENCE_MS)
    section.chooser.foreign.sources.setText("Phase, BF")
    section.chooser.foreign.targets.setText("Nuclei")
    section.chooser.foreign.use.click()
    qtbot.waitUntil(lambda: not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert section.chooser.foreign.isEnabled()
    assert not section.chooser.foreign.isHidden()
    assert section.session.model is None


def test_a_viscy_checkpoint_asks_for_its_configuration_and_finds_the_one_beside_it(section, qtbot, tmp_path):
    import torch

    path = tmp_path / "viscy.ckpt"
    torch.save({"state_dict": {"model.down.weight": torch.zeros(1)}}, path)
    (tmp_path / "config.json").write_text(json.dumps({}))
    section.use_file(path)
    qtbot.waitUntil(lambda: not section.chooser.foreign.isHidden(), timeout=PATIENCE_MS)
    assert section.chooser.foreign.config.text() == str(tmp_path / "config.json")
    assert section.chooser.foreign.sources.isHidden()
    section.chooser.foreign.use.click()
    qtbot.waitUntil(lambda: not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert section.session.model is None


def test_a_model_made_elsewhere_is_loaded_anew_when_other_things_are_said_of_it(theirs):
    cache, options = PredictorCache(), {"engine": "onnxruntime", "device": "cpu", "threads": 1}
    one = load_model(theirs, elsewhere=Elsewhere(sources=("Phase",), targets=("Nuclei",)))
    two = load_model(theirs, elsewhere=Elsewhere(sources=("Phase",), targets=("Membrane",)))
    first = cache.get(one, options)
    assert cache.get(one, options) is first
    assert cache.get(two, options).spec.targets == ("Membrane",)


def test_a_batch_is_told_what_was_said_of_the_model(theirs):
    from napari_vstain.core.inference.stage import PredictSettings

    model = load_model(theirs, elsewhere=Elsewhere(sources=("Phase",), targets=("Nuclei",)))
    settings = PredictSettings.parse({"dataset": "cells", **chosen_model(model)})
    assert settings.elsewhere == model.elsewhere
