"""A model that was made elsewhere is asked about in the dock, and then predicts like any other."""

import json

import numpy as np
import pytest

from napari_vstain.core.models.files.model_file import open_model
from napari_vstain.core.models.files.model_notes import ModelNotes, fixed_numbers
from napari_vstain.core.models.spec import Normalization
from napari_vstain.core.session import PredictorCache, chosen_model, model_at
from napari_vstain.widgets.docks.predict import PredictSection

PATIENCE_MS = 120_000


@pytest.fixture
def section(context, qtbot):
    made = PredictSection(context)
    qtbot.addWidget(made)
    return made


def test_an_onnx_file_without_a_spec_is_asked_about_and_predicts(section, qtbot, context, theirs, field):
    context.viewer.add_image(field, name="Phase")
    section.use_file(theirs)
    qtbot.waitUntil(lambda: not section.chooser.third_party.isHidden(), timeout=PATIENCE_MS)
    assert not section.chooser.third_party.use.isEnabled()
    section.chooser.third_party.sources.setText("Phase")
    section.chooser.third_party.targets.setText(" Nuclei ")
    section.chooser.third_party.use.click()
    qtbot.waitUntil(lambda: context.session.model is not None, timeout=PATIENCE_MS)
    assert section.chooser.third_party.isHidden()
    section.start("field")
    (layer,) = section.live_prediction.shown.layers
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    assert layer.name == "Nuclei_prediction · Phase · theirs.onnx"
    np.testing.assert_allclose(layer.data[50, 60], field[49:52, 59:62].mean(), rtol=1e-4)


def test_wrong_channels_are_one_sentence_and_may_be_said_again(section, qtbot, theirs):
    section.use_file(theirs)
    qtbot.waitUntil(lambda: not section.chooser.third_party.isHidden(), timeout=PATIENCE_MS)
    section.chooser.third_party.sources.setText("Phase, BF")
    section.chooser.third_party.targets.setText("Nuclei")
    section.chooser.third_party.use.click()
    qtbot.waitUntil(lambda: not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert section.chooser.third_party.isEnabled()
    assert not section.chooser.third_party.isHidden()
    assert section.session.model is None


def test_a_viscy_checkpoint_asks_for_its_configuration_and_finds_the_one_beside_it(section, qtbot, tmp_path):
    import torch

    path = tmp_path / "viscy.ckpt"
    torch.save({"state_dict": {"model.down.weight": torch.zeros(1)}}, path)
    (tmp_path / "config.json").write_text(json.dumps({}))
    section.use_file(path)
    qtbot.waitUntil(lambda: not section.chooser.third_party.isHidden(), timeout=PATIENCE_MS)
    assert section.chooser.third_party.config.text() == str(tmp_path / "config.json")
    assert section.chooser.third_party.sources.isHidden()
    section.chooser.third_party.use.click()
    qtbot.waitUntil(lambda: not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert section.session.model is None


def test_a_model_made_elsewhere_is_loaded_anew_when_other_things_are_said_of_it(theirs):
    cache, options = PredictorCache(), {"engine": "onnxruntime", "device": "cpu", "threads": 1}
    one = model_at(theirs, notes=ModelNotes(sources=("Phase",), targets=("Nuclei",)))
    two = model_at(theirs, notes=ModelNotes(sources=("Phase",), targets=("Membrane",)))
    first = cache.get(one, options)
    assert cache.get(one, options) is first
    assert cache.get(two, options).spec.targets == ("Membrane",)


def test_a_batch_is_told_what_was_said_of_the_model(theirs):
    from napari_vstain.core.inference import PredictSettings

    model = model_at(theirs, notes=ModelNotes(sources=("Phase",), targets=("Nuclei",)))
    settings = PredictSettings.parse({"dataset": "cells", **chosen_model(model)})
    assert settings.model_info == model.notes


def ask_about(section, qtbot, path, sources="Phase", targets="Nuclei"):
    """Return the fields for intensities, once the dock asks about a file and its channels are named."""
    section.use_file(path)
    form = section.chooser.third_party
    qtbot.waitUntil(lambda: not form.isHidden(), timeout=PATIENCE_MS)
    form.sources.setText(sources)
    form.targets.setText(targets)
    return form.intensities


def choose(combo, value):
    combo.setCurrentIndex([combo.itemData(at) for at in range(combo.count())].index(value))


def predicted_with(section, qtbot):
    """Use the model that was asked about; return its prediction of the open image."""
    section.chooser.third_party.use.click()
    qtbot.waitUntil(lambda: section.session.model is not None, timeout=PATIENCE_MS)
    section.start("field")
    (layer,) = section.live_prediction.shown.layers
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    return layer.data


def test_images_are_normalized_by_numbers_and_brought_back(section, qtbot, context, theirs, field):
    context.viewer.add_image(field, name="Phase")
    asked = ask_about(section, qtbot, theirs)
    choose(asked.input, "dataset")
    choose(asked.output, "dataset")
    for line, text in ((asked.subtract, "1000"), (asked.divide, "300"), (asked.multiply, "50"), (asked.add, "7.5")):
        line.setText(text)
    made = predicted_with(section, qtbot)
    expected = (field[49:52, 59:62].mean() - 1000) / 300 * 50 + 7.5
    assert made[50, 60] == pytest.approx(expected, rel=1e-3)


def test_images_are_normalized_by_their_own_statistics(section, qtbot, context, theirs, field):
    context.viewer.add_image(field, name="Phase")
    asked = ask_about(section, qtbot, theirs)
    choose(asked.input, "fov")
    asked.statistics.set_values({"subtract": "median", "divide": "iqr"})
    made = predicted_with(section, qtbot)
    quartiles = np.percentile(field, (25, 50, 75))
    expected = (field[49:52, 59:62].mean() - quartiles[1]) / (quartiles[2] - quartiles[0])
    assert made[50, 60] == pytest.approx(expected, abs=0.02)


def test_the_voxel_size_that_is_said_is_compared_with_the_images(section, qtbot, context, theirs, field):
    context.viewer.add_image(field, name="Phase", scale=(0.1, 0.1), units=("um", "um"))
    asked = ask_about(section, qtbot, theirs)
    asked.pixel.setValue(0.2)
    section.chooser.third_party.use.click()
    qtbot.waitUntil(lambda: section.session.model is not None, timeout=PATIENCE_MS)
    assert section.session.model.spec.spacing_um == (None, 0.2, 0.2)
    assert "trained at 0.2 µm" in section.chooser.expects.text()
    assert "0.1 µm to the model's 0.2 µm" in section.cautions.offer.text()


@pytest.mark.parametrize(
    ("subtract", "divide", "said"),
    [
        ("", "300", "is not a number"),
        ("1,2,3", "300", "3 numbers for 2 channels"),
        ("1000", "0", "not above 0"),
        ("nan", "1", "not finite"),
    ],
)
def test_numbers_that_make_no_sense_are_said_before_the_model_is_used(section, qtbot, theirs, subtract, divide, said):
    asked = ask_about(section, qtbot, theirs, sources="Phase, BF")
    form = section.chooser.third_party
    assert form.use.isEnabled()
    choose(asked.input, "dataset")
    asked.subtract.setText(subtract)
    asked.divide.setText(divide)
    assert not form.use.isEnabled()
    assert said in form.wrong.text()
    choose(asked.input, None)
    assert form.use.isEnabled()
    assert form.wrong.isHidden()


def test_what_was_said_of_a_file_can_be_corrected(section, qtbot, theirs):
    said = ModelNotes(
        sources=("Phase",),
        targets=("Nuclei",),
        source_normalization=Normalization(level="fov", subtract="median", divide="iqr"),
        target_normalization=Normalization(),
        statistics=fixed_numbers(("Nuclei",), (7.5,), (50.25,)),
        spacing_um=(None, 0.2, 0.2),
    )
    form = section.chooser.third_party
    form.ask(open_model(theirs).lacks(), said)
    assert not form.intensities.isHidden()
    assert form.answer() == said
    form.ask(open_model(theirs).lacks())
    assert form.intensities.isHidden()
    assert form.answer() == ModelNotes()


def test_a_file_that_is_chosen_again_is_asked_about_again(section, qtbot, theirs):
    ask_about(section, qtbot, theirs)
    section.chooser.third_party.use.click()
    qtbot.waitUntil(lambda: section.session.model is not None, timeout=PATIENCE_MS)
    section.chooser.use_file(theirs, again=True)
    qtbot.waitUntil(lambda: not section.chooser.third_party.isHidden(), timeout=PATIENCE_MS)
    assert section.chooser.third_party.sources.text() == "Phase"


def test_the_fields_fit_a_narrow_dock(section, theirs):
    form = section.chooser.third_party
    form.ask(open_model(theirs).lacks())
    form.fold.open(True)
    for level in ("fov", "dataset"):
        choose(form.intensities.input, level)
        choose(form.intensities.output, "dataset")
        assert section.minimumSizeHint().width() <= 380
