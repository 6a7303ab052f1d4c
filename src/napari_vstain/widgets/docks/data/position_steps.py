"""From field to field: the former, the next, or any of the well's."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QWidget

from napari_vstain.widgets.kit.style import shrinkable


class Steps(QWidget):
    """Two arrows, and the fields of the well between them."""

    chosen = Signal(str)
    stepped = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.back, self.on = QToolButton(), QToolButton()
        for button, text, tip, step in (
            (self.back, "◀", "Former position (Shift+N)", -1),
            (self.on, "▶", "Next position (N)", 1),
        ):
            button.setText(text)
            button.setToolTip(tip)
            button.clicked.connect(lambda _checked=False, step=step: self.stepped.emit(step))
        self.fields = shrinkable(QComboBox())
        self.fields.setToolTip("The fields of this well")
        self.fields.currentTextChanged.connect(self.chosen)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.back)
        row.addWidget(self.fields, 1)
        row.addWidget(self.on)

    def set_position(self, key: str, keys: Sequence[str]) -> None:
        """Show where we are among all positions; `chosen` stays silent."""
        well = key.rsplit("/", 1)[0]
        self.fields.blockSignals(True)
        self.fields.clear()
        self.fields.addItems([other for other in keys if other.rsplit("/", 1)[0] == well])
        self.fields.setCurrentText(key)
        self.fields.blockSignals(False)
        self.back.setEnabled(key != keys[0])
        self.on.setEnabled(key != keys[-1])
