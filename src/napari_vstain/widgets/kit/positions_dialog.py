"""A small dialog to choose some of many positions."""

from collections.abc import Sequence

from qtpy.QtWidgets import QAbstractItemView, QDialog, QDialogButtonBox, QLabel, QListWidget, QVBoxLayout, QWidget


class PositionsDialog(QDialog):
    """A list to choose from, with Shift and Ctrl as everywhere."""

    def __init__(self, parent: QWidget, keys: Sequence[str]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Choose positions")
        self.list = QListWidget()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.addItems(list(keys))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(QLabel("Shift or Ctrl and click to choose several."))
        column.addWidget(self.list)
        column.addWidget(buttons)

    def chosen(self) -> tuple[str, ...]:
        """Return the chosen positions, in the plate's order."""
        return tuple(self.list.item(row).text() for row in sorted(index.row() for index in self.list.selectedIndexes()))


def choose_positions(parent: QWidget, keys: Sequence[str]) -> tuple[str, ...]:
    """Ask for some positions; none when the user changes their mind."""
    dialog = PositionsDialog(parent, keys)
    return dialog.chosen() if dialog.exec() else ()
