"""What the menu of the Predict dock does, in a real window: into layers what is looked at, into the workspace the rest.

Every prediction is compared with the network's own of the whole image, made without any window.
"""

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_vstain.core.data import open_dataset
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.session import open_path
from napari_vstain.core.settings import load_config
from napari_vstain.widgets.compat import camera_of
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.kit.positions_dialog import PositionsDialog

PATIENCE_MS = 120_000


@pytest.fixture
def study(context, workspace, section):
    """The workspace, opened, with the model of `section`."""
    context.session.adopt(open_path(workspace.root))
    return workspace


def click(section, qtbot, action):
    """Choose an entry of the menu, and wait until it is done; return the layers that it painted."""
    assert action in section.buttons.more.menu().actions()
    assert action.isEnabled()
    action.trigger()
    assert section.problem.isHidden(), section.problem.text()
    assert section.job is not None
    layers = section.live_prediction.shown.layers if section.live_prediction.shown else []
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    return layers


def choose_in_dialog(rows):
    """Once the dialog of positions is open, choose rows and press OK; None cancels it."""

    def answer():
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, PositionsDialog):
            QTimer.singleShot(20, answer)
        elif rows is None:
            dialog.reject()
        else:
            for row in rows:
                dialog.list.item(row).setSelected(True)
            dialog.accept()

    QTimer.singleShot(0, answer)


def stored(workspace, model="untrained"):
    """Return the predictions in the workspace, by position."""
    dataset = open_dataset(workspace.experiment(model).predictions())
    assert dataset.channels == ("Nuclei_prediction",)
    made = {key: np.asarray(position.image())[0, 0, 0] for key, position in dataset.positions.items()}
    return {key: image for key, image in made.items() if np.isfinite(image).any()}


def expected(predictor, plate, key):
    """Return the prediction of a position, (Y, X)."""
    position = open_dataset(plate).position(key)
    image = np.asarray(position.image())[0, [position.channel_index("Phase")], 0]
    return predictor.predict(image)["stain"][0]


def test_what_is_seen_is_predicted_and_equals_the_crop_of_the_whole(section, qtbot, context, checkpoint):
    image = np.random.default_rng(1).normal(1000, 300, (900, 1200)).astype(np.float32)
    source = context.viewer.add_image(image, name="Phase", scale=(0.5, 0.5))
    context.viewer.window.show()  # what is seen is known once it was drawn
    camera_of(context.viewer).center = (0, 50, 50)  # the image's pixel (100, 100)
    camera_of(context.viewer).zoom *= 8
    qtbot.waitUntil(lambda: source.corner_pixels[1, 0] < 400)
    low, high = source.corner_pixels
    (layer,) = click(section, qtbot, section.buttons.scopes["view"])
    done = np.isfinite(layer.data)
    assert done[low[0] : high[0] + 1, low[1] : high[1] + 1].all()
    assert not done.all()
    whole = load_predictor(checkpoint).predict(image[None])["stain"][0]
    np.testing.assert_allclose(layer.data[done], whole[done], rtol=1e-4, atol=0.05)


def test_a_drawn_rectangle_is_predicted_and_equals_the_crop_of_the_whole(section, qtbot, context, checkpoint):
    image = np.random.default_rng(2).normal(1000, 300, (900, 1200)).astype(np.float32)
    context.viewer.add_image(image, name="Phase", scale=(0.5, 0.5))
    context.viewer.add_shapes([np.array([[10, 20], [40, 50]])], shape_type="rectangle")
    (layer,) = click(section, qtbot, section.buttons.scopes["region"])
    done = np.isfinite(layer.data)
    assert done[20:80, 40:100].all()
    assert not done.all()
    whole = load_predictor(checkpoint).predict(image[None])["stain"][0]
    np.testing.assert_allclose(layer.data[done], whole[done], rtol=1e-4, atol=0.05)


def test_this_position_is_saved_in_the_workspace(section, qtbot, context, study, plate, checkpoint):
    context.session.choose_position("B/2/1")
    click(section, qtbot, section.buttons.batches["this"])
    assert "Saved 1 position in predictions.zarr" in section.result.text()
    made = stored(study)
    assert set(made) == {"B/2/1"}
    np.testing.assert_allclose(
        made["B/2/1"], expected(load_predictor(checkpoint), plate, "B/2/1"), rtol=1e-4, atol=0.05
    )


def test_the_selected_positions_are_saved(section, qtbot, study, plate, checkpoint):
    choose_in_dialog([0, 4])
    click(section, qtbot, section.buttons.batches["selected"])
    assert "Saved 2 positions" in section.result.text()
    made = stored(study)
    assert set(made) == {"A/1/0", "B/2/1"}
    for key, image in made.items():
        np.testing.assert_allclose(image, expected(load_predictor(checkpoint), plate, key), rtol=1e-4, atol=0.05)


def test_a_choice_of_positions_that_is_cancelled_predicts_nothing(section, study):
    choose_in_dialog(None)
    section.buttons.batches["selected"].trigger()
    assert section.job is None
    assert section.problem.isHidden()
    assert not study.experiment("untrained").predictions().exists()


def test_the_whole_plate_is_saved_with_the_settings_that_make_it_again(section, qtbot, study, plate, checkpoint):
    click(section, qtbot, section.buttons.batches["all"])
    made = stored(study)
    assert set(made) == set(open_dataset(plate).positions)
    assert len(made) == 6
    predictor = load_predictor(checkpoint)
    for key, image in made.items():
        np.testing.assert_allclose(image, expected(predictor, plate, key), rtol=1e-4, atol=0.05)
    config = load_config(study.experiment("untrained").evaluation / "predictions.yml")
    assert Path(config["model"]) == checkpoint
    assert len(config["positions"]) == 6


def test_a_batch_needs_a_workspace_and_a_dataset(section, context, plate, field):
    context.viewer.add_image(field, name="Phase")
    assert not any(action.isEnabled() for action in section.buttons.batches.values())
    assert all(action.isEnabled() for action in section.buttons.scopes.values())
    context.session.open(plate)
    assert not any(action.isEnabled() for action in section.buttons.batches.values())


@pytest.fixture
def coarse(tmp_path, checkpoint, plate):
    """The model, as if it were trained on pixels twice as large as the plate's."""
    from napari_vstain.core.models.files.checkpoint import load_checkpoint, save_checkpoint

    spec, network = load_checkpoint(checkpoint)
    z, y, x = next(iter(open_dataset(plate).positions.values())).spacing_um
    save_checkpoint(tmp_path / "coarse.ckpt", spec.model_copy(update={"spacing_um": (z, 2 * y, 2 * x)}), network)
    return tmp_path / "coarse.ckpt"


@pytest.mark.parametrize("resample", [False, True])
def test_a_batch_is_resampled_when_the_box_is_ticked_and_says_so_when_it_is_not(
    section, qtbot, context, study, plate, coarse, resample
):
    section.use_file(coarse)
    qtbot.waitUntil(lambda: context.session.model.path == coarse, timeout=PATIENCE_MS)
    position = context.session.position
    context.viewer.add_image(
        np.asarray(position.image())[0, 0, 0], name="Phase", scale=position.spacing_um[1:], units="um"
    )
    assert not section.cautions.offer.isHidden()
    section.cautions.offer.setChecked(resample)
    click(section, qtbot, section.buttons.batches["this"])
    predictor = load_predictor(coarse)
    if resample:
        predictor = predictor.resampled((2, 2))
    (key, image), *others = stored(study, "coarse").items()
    assert (key, others) == (position.key, [])
    np.testing.assert_allclose(image, expected(predictor, plate, key), rtol=1e-4, atol=0.05)
    said = section.cautions.line.text()
    assert ("voxel size differs" in said) is not resample
    if not resample:
        assert section.cautions.offer.text().startswith("Resample")
        assert "Choose “Resample”" in said
    assert load_config(study.experiment("coarse").evaluation / "predictions.yml")["resample"] is resample


@pytest.fixture
def viscy(real_data: Path) -> Path:
    return real_data / "viscy_unet2d"


@pytest.mark.real_data("viscy_unet2d")
def test_a_viscy_checkpoint_predicts_in_the_dock_what_it_predicts_without(context, qtbot, viscy):
    from napari_vstain.core.models.files.model_notes import ModelNotes

    source = np.load(viscy / "reference.npz")["source"][0]  # (C, Z, Y, X) of one slice, or (C, Y, X)
    section = PredictSection(context)
    qtbot.addWidget(section)
    section.use_file(viscy / "model.ckpt")
    form = section.chooser.third_party
    qtbot.waitUntil(lambda: not form.isHidden(), timeout=PATIENCE_MS)
    assert form.config.text() == str(viscy / "config.json")  # the only one beside it
    form.use.click()
    qtbot.waitUntil(lambda: context.session.model is not None, timeout=PATIENCE_MS)
    assert "Phase3D → Nuclei, Membrane" in section.chooser.expects.text()
    context.viewer.add_image(source[0], name="Phase3D")
    section.go.click()
    layers = section.live_prediction.shown.layers
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    whole = load_predictor(viscy / "model.ckpt", notes=ModelNotes(config=viscy / "config.json")).predict(source)
    assert [layer.name.split(" · ")[0] for layer in layers] == ["Nuclei_prediction", "Membrane_prediction"]
    for layer, image in zip(layers, whole["stain"], strict=True):
        np.testing.assert_allclose(layer.data, image, atol=1e-4 * np.abs(image).max())
