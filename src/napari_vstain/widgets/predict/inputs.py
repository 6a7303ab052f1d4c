"""Which open image is which source channel of the model: matched by name, and the user's to change."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

from napari_vstain.core.session import Spacing
from napari_vstain.widgets.compat import axes_of, full_resolution
from napari_vstain.widgets.desk import Desk
from napari_vstain.widgets.layers.geometry import spacing_um
from napari_vstain.widgets.layers.matching import candidates, match
from napari_vstain.widgets.style import WRONG, shrinkable

_BY_USER = "chosen_by_user"


class SourceInputs(QWidget):
    """A row for each source of the model, with the open images to choose from."""

    changed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.combos: dict[str, QComboBox] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)

    def ask_for(self, sources: tuple[str, ...]) -> None:
        """Show a row for each source."""
        if tuple(self.combos) != sources:
            while (item := self._grid.takeAt(0)) is not None:
                item.widget().deleteLater()
            self.combos = {source: self._row(row, source) for row, source in enumerate(sources)}
        self.match()

    def match(self, *_: object) -> None:
        """Offer the open images, and choose those that match; a choice that still holds stays."""
        viewer = self._desk.viewer
        layers = candidates(viewer, self._desk.book)
        guesses = match(tuple(self.combos), layers, self._desk.book, viewer.layers.selection.active)
        for combo, guess in zip(self.combos.values(), guesses, strict=True):
            stays = combo.property(_BY_USER) and combo.currentData() in layers
            combo.setProperty(_BY_USER, stays)
            _offer(combo, layers, combo.currentData() if stays else guess)
        self.changed.emit()

    def chosen(self) -> list[Any]:
        """Return the image for each source, None where none is chosen."""
        return [combo.currentData() for combo in self.combos.values()]

    def spacing_um(self) -> Spacing | None:
        """Return the voxel size of the first image that is chosen, if its units are lengths."""
        image = next((layer for layer in self.chosen() if layer is not None), None)
        return None if image is None else spacing_um(image, axes_of(image))

    def problem(self) -> str:
        """Return why nothing can be predicted from them; "" when it can."""
        if not candidates(self._desk.viewer, self._desk.book):
            return "Open an image: any Image layer will do."
        chosen = self.chosen()
        missing = [source for source, layer in zip(self.combos, chosen, strict=True) if layer is None]
        if missing:
            return f"Say which open image is {missing[0]}."
        if len({full_resolution(layer).shape for layer in chosen}) > 1:
            return "The source images differ in size: choose images of one field."
        return ""

    def mark(self) -> None:
        """Colour the rows whose image is missing or of another size."""
        shapes = [full_resolution(layer).shape for layer in self.chosen() if layer is not None]
        for combo in self.combos.values():
            layer = combo.currentData()
            wrong = layer is None or (full_resolution(layer).shape != shapes[0])
            combo.setStyleSheet(WRONG if wrong else "")
            combo.setToolTip("Choose an image of the same size as the others." if wrong else "")

    def _row(self, row: int, source: str) -> Any:
        combo = shrinkable(QComboBox())
        combo.currentIndexChanged.connect(self.changed)
        combo.activated.connect(lambda _: combo.setProperty(_BY_USER, True))
        self._grid.addWidget(QLabel(source), row, 0)
        self._grid.addWidget(combo, row, 1)
        return combo


def _offer(combo: QComboBox, layers: list[Any], chosen: Any) -> None:
    combo.blockSignals(True)
    combo.clear()
    for layer in layers:
        combo.addItem(layer.name, layer)
    combo.setCurrentIndex(layers.index(chosen) if chosen in layers else -1)
    combo.blockSignals(False)
