"""What is predicted from, in a window: by name and role, the user's choice for good, and in words that are true."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_vstain.core.session import open_path
from napari_vstain.widgets.docks.data import DataSection
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.layers.registry import LayerOrigin

PATIENCE_MS = 120_000


@pytest.fixture
def takes(section, context):
    """Let the model take other sources."""

    def take(*sources):
        model = context.session.model
        context.session.choose_model(replace(model, spec=model.spec.model_copy(update={"sources": sources})))
        return [section.inputs.combos[source] for source in sources]

    return take


@pytest.fixture
def data(context, qtbot, plate):
    """The plate, open and shown."""
    made = DataSection(context)
    qtbot.addWidget(made)
    made.open(plate)
    qtbot.waitUntil(lambda: len(context.viewer.layers) == 3, timeout=PATIENCE_MS)
    return made


def pick(qtbot, combo, text):
    """Choose an entry of a box with the arrow keys, as a person does."""
    combo.setFocus()
    qtbot.keyClick(combo, Qt.Key.Key_Home)
    for _ in range(combo.findText(text)):
        qtbot.keyClick(combo, Qt.Key.Key_Down)
    assert combo.currentText() == text


def go_on(qtbot, data):
    """Go to the next position by a click, and wait for it."""
    viewer, before = data.context.viewer, list(data.context.viewer.layers)
    qtbot.mouseClick(data.steps.on, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3 and not set(before) & set(viewer.layers), timeout=PATIENCE_MS)


def test_the_channel_whose_role_is_source_is_predicted_from_whatever_is_inserted_or_active(takes, data, context, field):
    (combo,) = takes("Transmitted light")
    viewer = context.viewer
    assert combo.currentText() == "Phase"
    viewer.layers.selection.active = viewer.layers["Nuclei"]
    ours = context.registry.add(viewer.add_image(field), LayerOrigin("prediction", "Nuclei"))
    mine = viewer.add_image(field, name="mine")
    assert combo.currentText() == "Phase"
    for layer in (ours, mine, viewer.layers["Membrane"]):
        viewer.layers.remove(layer)
        assert combo.currentText() == "Phase"


def test_targets_alone_are_no_guess_and_the_box_is_red(takes, data, context, section):
    (combo,) = takes("Transmitted light")
    context.viewer.layers.remove("Phase")
    assert combo.currentIndex() == -1
    assert combo.styleSheet()
    assert not section.go.isEnabled()
    assert section.buttons.hint.text() == "Say which open image is Transmitted light."


def test_the_choice_of_a_person_holds_at_the_next_position_and_in_another_dock(takes, data, context, qtbot):
    (combo,) = takes("Transmitted light")
    pick(qtbot, combo, "Membrane")
    go_on(qtbot, data)
    assert combo.currentText() == "Membrane"
    assert combo.currentData() in context.viewer.layers
    other = PredictSection(context)
    qtbot.addWidget(other)
    assert other.inputs.combos["Transmitted light"].currentText() == "Membrane"
    takes("Phase")
    (again,) = takes("Transmitted light")
    assert again.currentText() == "Membrane"  # remembered by the model's source


def test_a_prediction_does_not_change_what_the_next_one_is_made_from(takes, data, section, qtbot, context):
    (combo,) = takes("Transmitted light")
    made_from = combo.currentData()
    for _ in range(2):
        qtbot.mouseClick(section.go, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
        assert section.problem.isHidden(), section.problem.text()
        assert combo.currentData() is made_from


def test_one_image_for_two_sources_is_refused(takes, section, context, qtbot):
    phase, bright = takes("Phase", "BF")
    for name in ("Phase", "BF"):
        context.viewer.add_image(np.zeros((8, 8)), name=name)
    assert section.go.isEnabled()
    pick(qtbot, bright, "Phase")
    assert not section.go.isEnabled()
    assert "same image" in section.buttons.hint.text()
    assert phase.styleSheet()
    assert bright.styleSheet()


def test_the_roles_decide_as_soon_as_they_change(takes, data, context):
    (combo,) = takes("Transmitted light")
    context.session.choose_channels(["Membrane"], ["Nuclei"])
    assert combo.currentText() == "Membrane"


def test_a_renamed_layer_has_its_new_name_in_the_box(section, context):
    layer = context.viewer.add_image(np.zeros((8, 8)), name="Phase")
    combo = section.inputs.combos["Phase"]
    layer.name = "field 7"
    assert [combo.itemText(at) for at in range(combo.count())] == ["field 7"]
    assert combo.currentData() is layer


def test_a_copy_of_our_prediction_is_not_offered(section, context, qtbot, field):
    context.viewer.add_image(field, name="Phase")
    section.start()
    qtbot.waitUntil(lambda: section.job is None, timeout=PATIENCE_MS)
    made = context.viewer.layers[-1]
    context.viewer.add_layer(type(made).create(*made.as_layer_data_tuple()))
    assert section.inputs.combos["Phase"].count() == 1


@pytest.mark.parametrize(
    ("pixels", "options", "said"),
    [
        (np.zeros((8, 8, 3), np.uint8), {"rgb": True}, "Split RGB"),
        (np.zeros((1, 1, 2, 8, 8)), {}, "5 axes"),
        (np.zeros((2, 8, 8)), {"axis_labels": ("c", "y", "x")}, "Split Stack"),
        (np.zeros((2, 3, 8, 8)), {"axis_labels": ("z", "channel", "y", "x")}, "Split Stack"),
        (np.zeros((2, 3, 8, 8)), {"axis_labels": ("z", "t", "y", "x")}, "time, z, y, x"),
        (np.zeros((8, 8, 9)), {"axis_labels": ("y", "x", "z")}, "time, z, y, x"),
    ],
)
def test_an_image_that_cannot_be_predicted_says_why(section, context, pixels, options, said):
    context.viewer.add_image(pixels, name="mine", **options)
    assert not section.go.isEnabled()
    assert section.inputs.combos["Phase"].count() == 0
    assert said in section.buttons.hint.text()
    assert "any Image layer" not in section.buttons.hint.text()


def test_a_few_planes_without_labels_are_asked_for_and_many_are_slices(section, context, qtbot):
    stack = section.inputs.stack
    few = context.viewer.add_image(np.zeros((3, 8, 8)), name="Phase")
    assert not stack.isHidden()
    assert not section.go.isEnabled()
    pick(qtbot, stack.combo, "channels (c)")
    assert "Split Stack" in section.buttons.hint.text()
    pick(qtbot, stack.combo, "time points (t)")
    assert section.go.isEnabled()
    assert context.registry.axes(few) == "TYX"
    assert few.axis_labels == ("-3", "-2", "-1")  # the layer is the user's
    context.viewer.layers.remove(few)
    context.viewer.add_image(np.zeros((12, 8, 8)), name="Phase")
    assert section.go.isEnabled()
    assert stack.combo.currentText() == "slices (z)"
    context.viewer.layers.clear()
    context.viewer.add_image(np.zeros((3, 8, 8)), name="Phase", axis_labels=("z", "y", "x"))
    assert stack.isHidden()
    assert section.go.isEnabled()


def test_channels_of_a_script_have_their_roles_without_the_data_dock(takes, context, plate):
    context.session.adopt(open_path(plate))
    (combo,) = takes("Transmitted light")
    for channel in ("Nuclei", "Phase"):
        layer = context.viewer.add_image(np.zeros((8, 8)))
        context.registry.add(layer, LayerOrigin("source", channel, str(plate), "A/1/0"))
    context.session.choose_channels(["Phase"], ["Nuclei"])
    assert combo.currentData() is context.viewer.layers[-1]
