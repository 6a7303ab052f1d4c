"""Predict in a window: any open image, exact, where the image is, and without touching what is the user's."""

import numpy as np

from napari_vstain.core.jobs import JobState
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.layers.flip import flip
from napari_vstain.widgets.layers.registry import LayerOrigin

PATIENCE_MS = 120_000


def predicted(section, qtbot):
    """Wait for the running prediction; return its layers."""
    shown = section.live_prediction.shown
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert section.problem.isHidden(), section.problem.text()
    return shown.layers


def whole(checkpoint, image):
    """Return the prediction without any window, (Y, X)."""
    from napari_vstain.core.inference.loading import load_predictor

    return load_predictor(checkpoint).predict(image[None])["stain"][0]


def test_one_click_predicts_an_open_image_with_no_workspace(section, qtbot, context, field, checkpoint):
    source = context.viewer.add_image(
        field, name="my phase", scale=(0.5, 0.25), translate=(3, 4), units=("um", "um"), axis_labels=("row", "column")
    )
    assert section.go.isEnabled()
    section.go.click()
    (layer,) = predicted(section, qtbot)
    np.testing.assert_allclose(layer.data, whole(checkpoint, field), rtol=1e-4, atol=0.05)
    assert layer.name == "Nuclei_prediction · my phase · untrained.ckpt"
    np.testing.assert_array_equal(layer.scale, source.scale)
    np.testing.assert_array_equal(layer.translate, source.translate)
    assert layer.units == source.units
    assert layer.axis_labels == source.axis_labels
    assert layer.blending == "additive"
    assert tuple(layer.contrast_limits) == (500, 1800)  # from the training range, not from the pixels


def test_the_key_predicts_too_and_the_button_says_so(section, qtbot, context, field):
    context.viewer.add_image(field, name="Phase")
    assert "(G)" in section.go.text()
    keys = {str(key): function for key, function in context.viewer.keymap.items()}
    keys["G"](context.viewer)
    predicted(section, qtbot)


def test_no_layer_of_the_user_is_changed_or_removed(section, qtbot, context, field):
    viewer = context.viewer
    user = [
        viewer.add_image(field.copy(), name="Phase", colormap="magenta", contrast_limits=(0, 7)),
        viewer.add_image(field.copy(), name="Nuclei_prediction", visible=True),
        viewer.add_labels(np.ones(field.shape, dtype=int)),
        viewer.add_shapes([[[0, 0], [50, 60]]], shape_type="rectangle", name="Nuclei"),
    ]
    before = [(layer.name, layer.visible, layer.opacity, str(layer.blending), id(layer.data)) for layer in user[:3]]
    pixels = [np.asarray(layer.data).copy() for layer in user[:3]]
    section.start("field")
    layers = predicted(section, qtbot)
    list(flip(viewer, context.registry))
    assert [layer for layer in viewer.layers if layer not in layers] == user
    assert before == [
        (layer.name, layer.visible, layer.opacity, str(layer.blending), id(layer.data)) for layer in user[:3]
    ]
    for layer, values in zip(user, pixels, strict=False):
        np.testing.assert_array_equal(layer.data, values)
    assert viewer.layers.selection.active is user[-1]


def test_predicting_again_fills_the_same_layer_and_a_deleted_one_is_made_anew(section, qtbot, context, field):
    context.viewer.add_image(field, name="Phase")
    section.start("field")
    (first,) = predicted(section, qtbot)
    section.start("field")
    assert predicted(section, qtbot) == [first]
    context.viewer.layers.remove(first)
    section.start("field")
    (other,) = predicted(section, qtbot)
    assert other is not first
    assert other in context.viewer.layers


def test_the_drawn_region_equals_the_crop_of_the_whole(section, qtbot, context, checkpoint):
    image = np.random.default_rng(1).normal(1000, 300, (300, 420)).astype(np.float32)
    context.viewer.add_image(image, name="Phase", scale=(0.5, 0.5))
    context.viewer.add_shapes([np.array([[10, 20], [40, 50]])], shape_type="rectangle", name="region")
    section.start("region")
    (layer,) = predicted(section, qtbot)
    done = np.isfinite(layer.data)
    assert done[20:80, 40:100].all()
    assert not done.all()
    np.testing.assert_allclose(layer.data[done], whole(checkpoint, image)[done], rtol=1e-4, atol=0.05)


def test_a_region_that_is_not_drawn_is_one_sentence(section, context, field):
    context.viewer.add_image(field, name="Phase")
    section.guarded(lambda: section.start("region"))
    assert "add a Shapes layer" in section.problem.text()
    assert section.job is None


def test_every_slice_and_timepoint_of_a_stack_is_predicted(section, qtbot, context, checkpoint):
    stack = np.random.default_rng(2).normal(1000, 300, (2, 3, 64, 48)).astype(np.float32)
    context.viewer.add_image(stack, name="Phase", axis_labels=("t", "z", "y", "x"))
    section.start("field")
    (layer,) = predicted(section, qtbot)
    assert layer.data.shape == stack.shape
    np.testing.assert_allclose(layer.data[1, 2], whole(checkpoint, stack[1, 2]), rtol=1e-4, atol=0.05)


def test_stop_stops_and_keeps_the_finished_tiles(section, qtbot, context):
    context.viewer.add_image(np.random.default_rng(3).normal(1000, 300, (3000, 3000)).astype(np.float32), name="Phase")
    section.start("field")
    shown, job = section.live_prediction.shown, section.job
    data = shown.layers[0].data
    qtbot.waitUntil(lambda: bool(np.isfinite(data[1400:1600:10, 1400:1600:10]).any()), timeout=PATIENCE_MS)
    section.stop.click()
    assert section.stop.text() == "Stopping… (finishing tile)"
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    assert job.status.state is JobState.DONE
    assert np.isfinite(data).any()
    assert not np.isfinite(data).all()
    assert "Stopped" in section.result.text()
    assert section.go.isEnabled()


def test_without_a_model_or_an_image_the_button_is_off_and_says_why(context, qtbot, section, field):
    assert not section.go.isEnabled()
    assert "any Image layer" in section.buttons.hint.text()
    bare = PredictSection(context)
    qtbot.addWidget(bare)
    context.session.choose_model(None)
    assert not bare.go.isEnabled()
    assert "Choose a model" in bare.go.toolTip()


def test_a_file_that_is_no_model_is_one_sentence_in_the_dock(section, qtbot, tmp_path):
    fake = tmp_path / "fake.onnx"
    fake.write_bytes(b"nothing")
    section.use_file(fake)
    qtbot.waitUntil(lambda: not section.problem.isHidden(), timeout=PATIENCE_MS)
    assert "fake.onnx" in section.problem.text()
    assert section.session.model is not None  # the one before is still chosen


def test_the_image_that_the_user_chose_stays_chosen_while_it_is_open(section, context):
    phase, mine = (context.viewer.add_image(np.zeros((8, 8)), name=name) for name in ("Phase", "mine"))
    combo = section.inputs.combos["Phase"]
    assert combo.currentData() is phase
    combo.setCurrentIndex(combo.findText("mine"))
    combo.activated.emit(combo.currentIndex())  # as a click does
    context.viewer.add_image(np.zeros((8, 8)), name="Phase again")
    assert combo.currentData() is mine
    context.viewer.layers.remove(mine)
    assert combo.currentData() is phase


def test_holding_the_key_shows_the_target_and_letting_go_the_prediction(context):
    viewer, registry = context.viewer, context.registry
    user = viewer.add_image(np.zeros((4, 4)), name="Nuclei", visible=True)
    target = registry.add(viewer.add_image(np.zeros((4, 4)), visible=False), LayerOrigin("target", "Nuclei"))
    prediction = registry.add(viewer.add_image(np.zeros((4, 4))), LayerOrigin("prediction", "Nuclei"))
    held = flip(viewer, registry)
    next(held)
    assert (target.visible, prediction.visible, user.visible) == (True, False, True)
    assert next(held, "released") == "released"
    assert (target.visible, prediction.visible, user.visible) == (False, True, True)


def test_images_of_different_sizes_are_marked_and_the_button_is_off(context, qtbot, section, checkpoint):
    from dataclasses import replace

    model = context.session.model
    two = replace(model, spec=model.spec.model_copy(update={"sources": ("Phase", "BF")}))
    context.viewer.add_image(np.zeros((8, 8)), name="Phase")
    context.viewer.add_image(np.zeros((9, 9)), name="BF")
    context.session.choose_model(two)
    assert not section.go.isEnabled()
    assert "differ in size" in section.buttons.hint.text()
    assert section.inputs.combos["BF"].styleSheet()
    assert section.inputs.combos["BF"].toolTip()
