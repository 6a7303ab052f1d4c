"""What the axes of a stack are, asked of a person where no labels say so."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget

from napari_vstain.widgets.kit.style import mark_wrong, shrinkable
from napari_vstain.widgets.layers.axes import CHOICES


class StackAxes(QWidget):
    """A row that is there only for a stack without labels: it says what its axes are taken for."""

    said = Signal(str)
    """What the user chose, a part of ``TCZYX``."""

    def __init__(self) -> None:
        super().__init__()
        self.combo = shrinkable(QComboBox())
        self.combo.setPlaceholderText("choose")
        self.combo.setAccessibleName("Axes of the stack")
        self.combo.activated.connect(lambda at: self.said.emit(self.combo.itemData(at)))
        self._label = QLabel()
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self._label)
        line.addWidget(self.combo, 1)
        self.setVisible(False)

    def show_for(self, layer: Any, axes: str) -> None:
        """Turn to an image whose labels name no axes, or to None.

        Parameters
        ----------
        axes : str
            What its axes are taken for; "" when it must be said.
        """
        choices = {} if layer is None else CHOICES.get(layer.ndim, {})
        self.setVisible(bool(choices))
        if choices:
            shape = layer.data[0].shape if layer.multiscale else layer.data.shape
            self._label.setText(f"The {' × '.join(str(n) for n in shape[:-2])} planes are")
            self.combo.clear()
            for value, words in choices.items():
                self.combo.addItem(words, value)
            self.combo.setCurrentIndex(self.combo.findData(axes))
            mark_wrong(self.combo, not axes)
