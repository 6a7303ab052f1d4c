"""Fields for what a third-party model does not say of itself; they are there only when they are needed."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.models.files.model_notes import Lacks, ModelNotes
from napari_vstain.widgets.docks.predict.intensities import IntensitiesForm
from napari_vstain.widgets.kit.collapsible import Collapsible
from napari_vstain.widgets.kit.style import note, shrinkable


class ThirdPartyForm(QWidget):
    """Ask what a model lacks, then call `then(path, notes)`."""

    def __init__(self, then: Callable[[Path, ModelNotes], object]) -> None:
        super().__init__()
        self._then = then
        self.lacks: Lacks | None = None
        self.why, self.wrong = note(), note()
        self.sources, self.targets, self.config = QLineEdit(), QLineEdit(), QLineEdit()
        self.sources.setPlaceholderText("Phase")
        self.targets.setPlaceholderText("Nuclei, Membrane")
        self.config.setPlaceholderText("config.yml or config.json")
        self.intensities = IntensitiesForm()
        self.fold = Collapsible("Intensities and voxel size", self.intensities)
        self.browse, self.use = QPushButton("File…"), QPushButton("Use this model")
        self._arrange()
        self.browse.clicked.connect(self._ask_config)
        self.use.clicked.connect(self._answer)
        for field in (self.sources, self.targets, self.config):
            field.textChanged.connect(self._check)
        self.intensities.changed.connect(self._check)
        self.setVisible(False)

    def ask(self, lacks: Lacks, known: ModelNotes | None = None) -> None:
        """Show the fields that a file needs, filled with what was said of it before."""
        self.lacks, known = lacks, known or ModelNotes(config=lacks.config)
        channels = lacks.what == "channels"
        self.why.setText(
            f"{lacks.path.name} was not made here: name its channels, in its order, with commas between them. "
            "Its images are taken as they are, unless you say how they are to be normalized."
            if channels
            else f"{lacks.path.name} was made by VisCy: choose the configuration it was trained with."
        )
        for row, shown in ((1, channels), (2, channels), (3, not channels), (4, channels)):
            self._rows.setRowVisible(row, shown)
        self.sources.setText(", ".join(known.sources))
        self.targets.setText(", ".join(known.targets))
        self.config.setText(str(known.config or ""))
        self.intensities.show_said(known)
        self.fold.open(self.intensities.any_said())
        self._check()
        self.setVisible(True)

    def answer(self) -> ModelNotes:
        """Return what was said.

        Raises
        ------
        SettingsError
            When numbers are missing, or not numbers, or too many.
        """
        if self.lacks is not None and self.lacks.what == "config":
            return ModelNotes(config=Path(self.config.text().strip()))
        sources, targets = _names(self.sources.text()), _names(self.targets.text())
        return ModelNotes(sources=sources, targets=targets, **self.intensities.said(sources, targets))

    def _check(self, *_: object) -> None:
        """Offer to use the model once all is said that it needs; say what is wrong with the numbers."""
        config = self.lacks is not None and self.lacks.what == "config"
        needed = (self.config,) if config else (self.sources, self.targets)
        complete, problem = all(_names(field.text()) for field in needed), ""
        if complete:
            try:
                self.answer()
            except SettingsError as error:
                problem = str(error)
        self.wrong.setText(problem)
        self._rows.setRowVisible(self.wrong, bool(problem))
        self.use.setEnabled(complete and not problem)

    def _arrange(self) -> None:
        line = QHBoxLayout()
        line.addWidget(shrinkable(self.config), 1)
        line.addWidget(self.browse)
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.addRow(self.why)
        self._rows.addRow("Sources", self.sources)
        self._rows.addRow("Targets", self.targets)
        self._rows.addRow("Configuration", line)
        self._rows.addRow(self.fold)
        self._rows.addRow(self.wrong)
        self._rows.addRow(self.use)

    def _answer(self) -> None:
        if self.lacks is not None:
            self._then(self.lacks.path, self.answer())

    def _ask_config(self) -> None:
        start = str(self.lacks.path.parent) if self.lacks else ""
        kinds = "Configurations (*.yml *.yaml *.json)"
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose the configuration of this model", start, kinds)
        if chosen:
            self.config.setText(chosen)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
