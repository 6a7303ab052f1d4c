"""Which positions a training learns from, is chosen by and is judged by: proposed, and changed by check boxes."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QHeaderView, QPushButton, QTableView, QVBoxLayout, QWidget

from napari_vstain.core.models.split import Split

_PARTS = ("train", "validate", "test")
_ROWS_SHOWN = 8
_TIPS = {
    "train": "The network learns from it.",
    "validate": "It is never learned from; it chooses the best epoch.",
    "test": "It is kept apart to judge the model by.",
}


class SplitTable(QAbstractTableModel):
    """A row a position, and a box for each part that it may play."""

    toggled = Signal(str, str)
    """A position and a part, whose box was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: tuple[str, ...] = ()
        self.split = Split(())

    def show_split(self, keys: Sequence[str], split: Split) -> None:
        """Show these positions and their parts."""
        self.beginResetModel()
        self.keys, self.split = tuple(keys), split
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many positions there are."""
        return len(self.keys)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return 4: the position, and the parts."""
        return 1 + len(_PARTS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a position's name, or whether its box is checked."""
        key, column = self.keys[index.row()], index.column()
        if column == 0:
            return key if role == Qt.ItemDataRole.DisplayRole else None
        if role == Qt.ItemDataRole.CheckStateRole:
            checked = key in getattr(self.split, _PARTS[column - 1])
            return Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{key}: {_PARTS[column - 1]}"
        return _TIPS[_PARTS[column - 1]] if role == Qt.ItemDataRole.ToolTipRole else None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tell which box was clicked; what comes of it is shown by `show_split`."""
        if role != Qt.ItemDataRole.CheckStateRole or index.column() == 0:
            return False
        self.toggled.emit(self.keys[index.row()], _PARTS[index.column() - 1])
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let the boxes be checked."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() else flags

    def headerData(self, section: int, direction: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a column is called."""
        if role != Qt.ItemDataRole.DisplayRole or direction != Qt.Orientation.Horizontal:
            return None
        return ("position", *_PARTS)[section]


class SplitChooser(QWidget):
    """Proposes a split of the positions, until somebody changes it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table, self.view = SplitTable(), QTableView()
        self.view.setModel(self.table)
        self.view.setAccessibleName("Split of the positions")
        self.view.setTabKeyNavigation(False)  # Tab goes on to the next editor; arrows walk the boxes, Space checks one
        if (header := self.view.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setStretchLastSection(True)
        if (side := self.view.verticalHeader()) is not None:
            side.setVisible(False)
        self.together = QCheckBox("Keep wells together")
        self.together.setToolTip("Fields of one well share cells, stain and light: one box stands for all of them.")
        self.together.setChecked(True)
        self.again = QPushButton("Propose again")
        line = QHBoxLayout()
        line.addWidget(self.together, 1)
        line.addWidget(self.again)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        column.addLayout(line)
        self.table.toggled.connect(self._toggle)
        self.again.clicked.connect(self.propose)

    @property
    def split(self) -> Split:
        """The split that is shown."""
        return self.table.split

    def set_positions(self, keys: Sequence[str]) -> None:
        """Propose a split of these positions, unless they are the ones that are shown."""
        if tuple(keys) != self.table.keys:
            self.table.keys = tuple(keys)
            self.propose()

    def show_split(self, keys: Sequence[str], split: Split) -> None:
        """Show a split; `changed` stays silent."""
        self.table.show_split(keys, split)
        bar = self.view.horizontalHeader()
        above = bar.height() if bar is not None else 0
        self.view.setFixedHeight(above + self.view.rowHeight(0) * min(len(keys), _ROWS_SHOWN) + 6)

    def propose(self) -> None:
        """Show the split that a training takes when nobody says another."""
        from napari_vstain.core.training.splits import propose_split

        keys = self.table.keys
        self.show_split(keys, propose_split(keys) if keys else Split(()))
        self.changed.emit()

    def _toggle(self, key: str, part: str) -> None:
        from napari_vstain.core.training.splits import toggle_part

        keys = self.table.keys
        self.table.show_split(keys, toggle_part(self.split, keys, key, part, together=self.together.isChecked()))
        self.changed.emit()
