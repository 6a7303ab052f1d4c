"""The split of a training is chosen by check boxes, with the mouse and with the keyboard."""

import pytest
from qtpy.QtCore import QRect, Qt
from qtpy.QtWidgets import QStyle, QStyleOptionViewItem

from napari_vstain.core.models.split import Split
from napari_vstain.core.session import open_path
from napari_vstain.widgets.docks.train import TrainSection
from napari_vstain.widgets.docks.train.split_chooser import SplitChooser

KEYS = ("A/1/0", "A/1/1", "B/2/0", "B/2/1", "C/3/0", "C/3/1")
COLUMN = {"train": 1, "validate": 2, "test": 3}


@pytest.fixture
def chooser(qtbot):
    made = SplitChooser()
    qtbot.addWidget(made)
    made.set_positions(KEYS)
    made.show_split(KEYS, Split(KEYS[:2], KEYS[2:4], KEYS[4:]))
    made.resize(340, 320)
    made.show()
    qtbot.waitExposed(made)
    return made


def click(qtbot, chooser, key, part):
    index = chooser.table.index(chooser.table.keys.index(key), COLUMN[part])
    option = QStyleOptionViewItem()
    option.initFrom(chooser.view)
    option.features |= QStyleOptionViewItem.ViewItemFeature.HasCheckIndicator
    option.rect = chooser.view.visualRect(index)
    box: QRect = chooser.view.style().subElementRect(
        QStyle.SubElement.SE_ItemViewItemCheckIndicator, option, chooser.view
    )
    qtbot.mouseClick(chooser.view.viewport(), Qt.MouseButton.LeftButton, pos=box.center())


def test_a_click_moves_the_whole_well_unless_wells_may_be_parted(chooser, qtbot):
    click(qtbot, chooser, "C/3/1", "train")
    assert chooser.split == Split((*KEYS[:2], *KEYS[4:]), KEYS[2:4], ())
    chooser.together.setChecked(False)
    click(qtbot, chooser, "B/2/1", "test")
    assert chooser.split == Split((*KEYS[:2], *KEYS[4:]), KEYS[2:3], KEYS[3:4])
    click(qtbot, chooser, "A/1/0", "train")  # of a box that is checked: left out
    assert chooser.split.train == (KEYS[1], *KEYS[4:])


def test_the_keyboard_reaches_every_box(chooser, qtbot):
    chooser.view.setFocus()
    chooser.view.setCurrentIndex(chooser.table.index(0, 1))
    qtbot.keyClick(chooser.view, Qt.Key.Key_Right)
    qtbot.keyClick(chooser.view, Qt.Key.Key_Space)
    assert chooser.split == Split((), KEYS[:4], KEYS[4:])
    chooser.again.click()
    assert chooser.split.train
    assert chooser.split.checked(KEYS) == chooser.split


def test_a_training_has_the_split_that_was_chosen_and_what_flatters_is_said(context, qtbot, workspace):
    section = TrainSection(context)
    qtbot.addWidget(section)
    context.session.adopt(open_path(workspace.root))
    context.session.choose_channels(("Phase",), ("Nuclei",))
    keys = tuple(context.session.open_dataset.positions)
    chosen = Split(keys[3:], keys[2:3], keys[:2])
    section.splitting.show_split(keys, chosen)
    section.splitting.changed.emit()
    assert section.go.text() == "Train on 3 positions"
    assert "both learned from and in the test" not in section.caution.text()
    section.name.setText("first")
    section.form.set_values({"epochs": 1})
    section.form.set_values({"patch_px": 32, "batch_size": 2})
    section.go.click()
    assert not section.splitting.isEnabled()
    qtbot.waitUntil(lambda: section.job is None, timeout=120_000)
    assert section.splitting.isEnabled()
    assert context.session.latest("train").result().spec.training.positions == chosen
    for part in ("train", "validate", "test"):
        for key in keys:
            if key in getattr(section.splitting.split, part):
                section.splitting.table.toggled.emit(key, part)
    assert not section.go.isEnabled()
    assert "name at least one position to learn from" in section.plan.text()


def test_a_plate_of_one_position_says_that_it_validates_on_what_it_learned(context, qtbot, tmp_path):
    from napari_vstain.core.simulation import simulate_plate

    section = TrainSection(context)
    qtbot.addWidget(section)
    context.session.adopt(open_path(simulate_plate(tmp_path / "one.zarr", wells=("A/1",), fields=1, size=64)))
    assert "A/1/0 is learned from and validated on" in section.caution.text()
    assert not section.caution.isHidden()
