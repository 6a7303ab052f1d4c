"""The role of each channel: a source that is predicted from, a target that is predicted, or neither."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

_NEITHER, _SOURCE, _TARGET = "–", "source", "target"


class Roles(QWidget):
    """A row for each channel, with a box to choose its role."""

    chosen = Signal(list, list)
    """Sources and targets, when the user changed one."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[str, QComboBox] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(0, 1)

    def set_channels(self, channels: Sequence[str]) -> None:
        """Show a row for each of these channels, in place of those before."""
        while (item := self._grid.takeAt(0)) is not None:
            item.widget().deleteLater()
        self.boxes = {}
        for row, channel in enumerate(channels):
            box = QComboBox()
            box.addItems((_NEITHER, _SOURCE, _TARGET))
            box.setToolTip("source: what is predicted from; target: the stain that is predicted")
            box.setAccessibleName(f"Role of {channel}")
            box.currentTextChanged.connect(self._choose)
            self._grid.addWidget(QLabel(channel), row, 0)
            self._grid.addWidget(box, row, 1)
            self.boxes[channel] = box

    def set_roles(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Show who has which role; `chosen` stays silent."""
        for channel, box in self.boxes.items():
            box.blockSignals(True)
            box.setCurrentText(_SOURCE if channel in sources else _TARGET if channel in targets else _NEITHER)
            box.blockSignals(False)

    def _choose(self) -> None:
        roles = {channel: box.currentText() for channel, box in self.boxes.items()}
        sources, targets = ([name for name, role in roles.items() if role == wanted] for wanted in (_SOURCE, _TARGET))
        self.chosen.emit(sources, targets)
