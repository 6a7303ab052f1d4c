"""Which open image is which source of the model: what the session matches, and the user's to change."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

from napari_vstain.core.session import OpenImage, match_sources
from napari_vstain.widgets.compat import full_resolution
from napari_vstain.widgets.docks.predict.stacks import StackAxes
from napari_vstain.widgets.kit.style import mark_wrong, shrinkable
from napari_vstain.widgets.layers.axes import labelled_axes, refusal
from napari_vstain.widgets.layers.geometry import spacing_um
from napari_vstain.widgets.layers.matching import candidates, open_images, refusals
from napari_vstain.widgets.viewer_context import ViewerContext


class SourceInputs(QWidget):
    """A row for each source of the model, with the open images to choose from. The session holds the choices."""

    changed = Signal()

    def __init__(self, context: ViewerContext) -> None:
        super().__init__()
        self._context = context
        self.combos: dict[str, QComboBox] = {}
        self.stack = StackAxes()
        self._images: dict[OpenImage, Any] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self.stack.said.connect(self._say_axes)

    def ask_for(self, sources: tuple[str, ...]) -> None:
        """Show a row for each source."""
        if tuple(self.combos) != sources:
            while (item := self._grid.takeAt(0)) is not None:
                if item.widget() is not self.stack:
                    item.widget().deleteLater()
            self.combos = {source: self._row(row, source) for row, source in enumerate(sources)}
            self._grid.addWidget(self.stack, len(sources), 0, 1, 2)
        self.match()

    def match(self, *_: object) -> None:
        """Offer the open images, under the names that they have now, and show which the session takes for which."""
        context, session = self._context, self._context.session
        self._images = open_images(candidates(context.viewer, context.registry), context.registry, session)
        found = match_sources(tuple(self.combos), self._images, session.images)
        for combo, image in zip(self.combos.values(), found, strict=True):
            combo.blockSignals(True)
            combo.clear()
            for offered, layer in self._images.items():
                combo.addItem(offered.name, layer)
            combo.setCurrentIndex(-1 if image is None else list(self._images).index(image))
            combo.blockSignals(False)
        self.changed.emit()

    def chosen(self) -> list[Any]:
        """Return the image for each source, None where none is chosen."""
        return [combo.currentData() for combo in self.combos.values()]

    def spacing_um(self) -> tuple[float | None, float | None, float | None] | None:
        """Return the voxel size of the first image that is chosen, if its units are lengths."""
        image = next((layer for layer in self.chosen() if layer is not None), None)
        return None if image is None else spacing_um(image, self._context.registry.axes(image))

    def problem(self) -> str:
        """Return why nothing can be predicted from them; "" when it can."""
        if not self._images:
            other = refusals(self._context.viewer, self._context.registry)
            return other[0] if other else "Open an image: any Image layer of one channel will do."
        chosen = self.chosen()
        missing = [source for source, layer in zip(self.combos, chosen, strict=True) if layer is None]
        if missing:
            return f"Say which open image is {missing[0]}."
        if twice := _twice(self.combos, chosen):
            return f"{' and '.join(twice)} are the same image: choose another one for {twice[-1]}."
        if len({full_resolution(layer).shape for layer in chosen}) > 1:
            return "The source images differ in size: choose images of one field."
        axes = {self._context.registry.axes(layer) for layer in chosen}
        if "" in axes:
            return "Say what the axes of the image are: its labels do not."
        if len(axes) > 1:
            return "The source images differ in their axes: choose images of one field."
        return next((why for layer in chosen if (why := refusal(layer, self._context.registry.axes(layer)))), "")

    def mark(self) -> None:
        """Colour the rows whose image is missing, the same as another's, or of another size."""
        chosen = self.chosen()
        shapes = [full_resolution(layer).shape for layer in chosen if layer is not None]
        twice = _twice(self.combos, chosen)
        for source, combo in self.combos.items():
            layer = combo.currentData()
            tip = ""
            if layer is None:
                tip = "Choose the image to predict from."
            elif source in twice:
                tip = "Choose another image for each source."
            elif full_resolution(layer).shape != shapes[0]:
                tip = "Choose an image of the same size as the others."
            mark_wrong(combo, bool(tip))
            combo.setToolTip(tip)
        first = next((layer for layer in chosen if layer is not None and not labelled_axes(layer)), None)
        self.stack.show_for(first, "" if first is None else self._context.registry.axes(first))

    def _row(self, row: int, source: str) -> Any:
        combo = shrinkable(QComboBox())
        combo.setPlaceholderText("choose an image")
        combo.setAccessibleName(f"Image for {source}")
        combo.currentIndexChanged.connect(self.changed)
        combo.activated.connect(lambda at: self._choose(source, combo.itemData(at)))
        self._grid.addWidget(QLabel(source), row, 0)
        self._grid.addWidget(combo, row, 1)
        return combo

    def _choose(self, source: str, layer: Any) -> None:
        key = next((image.key for image, known in self._images.items() if known is layer), None)
        if key is not None:
            self._context.session.choose_image(source, key)

    def _say_axes(self, axes: str) -> None:
        for layer in self.chosen():
            if layer is not None and not labelled_axes(layer):
                self._context.registry.say_axes(layer, axes)
        self.match()


def _twice(sources: Any, chosen: list[Any]) -> list[str]:
    """Return the sources that share their image with another one."""
    return [
        source for source, layer in zip(sources, chosen, strict=True) if layer is not None and chosen.count(layer) > 1
    ]
