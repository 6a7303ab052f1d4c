"""What to keep in mind of a prediction: an amber line that stays while it applies, and the offer to resample."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.novelty.voxel_size import voxels_apart
from napari_vstain.widgets.kit.style import caution_line


class Cautions(QWidget):
    """Hidden while nothing is unlike what the model was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self._subject: tuple[Any, ...] = ()
        self.sentences: list[str] = []
        self.line = caution_line()
        self.offer = QCheckBox()
        self.offer.setToolTip(
            "The image is brought to the voxel size that the model was trained at, predicted, and brought back."
        )
        self.offer.setVisible(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.line)
        column.addWidget(self.offer)
        self.setVisible(False)

    @property
    def resample(self) -> bool:
        """True when the prediction is to be made at the model's voxel size."""
        return not self.offer.isHidden() and self.offer.isChecked()

    def show_for(
        self, subject: tuple[Any, ...], spec: ModelSpec | None, spacing_um: Sequence[float | None] | None
    ) -> None:
        """Turn to a model and its images; what was said of others is forgotten.

        Parameters
        ----------
        subject
            The model and the images; compared by identity.
        spacing_um : (Z, Y, X), optional
            Voxel size of the images in micrometres.
        """
        if [id(part) for part in subject] != [id(part) for part in self._subject]:
            self._subject = subject
            self.clear()
        apart = [found for found in voxels_apart(spec, spacing_um) if found[0] != "Z"] if spec else []
        if apart:
            _, here, there = apart[0]
            self.offer.setText(f"Resample {here:.3g} µm to the model's {there:.3g} µm")
        elif not self.offer.isHidden():
            self.offer.setChecked(False)
        self.offer.setVisible(bool(apart))
        self._show()

    def add(self, *sentences: str) -> None:
        """Add sentences, each once."""
        self.sentences += [sentence for sentence in sentences if sentence and sentence not in self.sentences]
        mark = "• " if len(self.sentences) > 1 else ""
        self.line.setText("\n".join(mark + sentence for sentence in self.sentences))
        self._show()

    def clear(self) -> None:
        """Forget what was said."""
        self.sentences = []
        self._show()

    def _show(self) -> None:
        self.line.setVisible(bool(self.sentences))
        self.setVisible(bool(self.sentences) or not self.offer.isHidden())
