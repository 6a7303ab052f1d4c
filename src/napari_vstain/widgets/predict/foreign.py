"""Fields for what a model that was made elsewhere does not say of itself; they are there only when they are needed."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_vstain.core.inference.elsewhere import Elsewhere, Lacking
from napari_vstain.widgets.style import note, shrinkable


class ForeignForm(QWidget):
    """Ask what a model lacks, then call `then(path, elsewhere)`."""

    def __init__(self, then: Callable[[Path, Elsewhere], object]) -> None:
        super().__init__()
        self._then = then
        self.lacking: Lacking | None = None
        self.why = note()
        self.sources, self.targets, self.config = QLineEdit(), QLineEdit(), QLineEdit()
        self.sources.setPlaceholderText("Phase")
        self.targets.setPlaceholderText("Nuclei, Membrane")
        self.config.setPlaceholderText("config.yml or config.json")
        self.browse, self.use = QPushButton("File…"), QPushButton("Use this model")
        line = QHBoxLayout()
        line.addWidget(shrinkable(self.config), 1)
        line.addWidget(self.browse)
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.addRow(self.why)
        self._rows.addRow("Sources", self.sources)
        self._rows.addRow("Targets", self.targets)
        self._rows.addRow("Configuration", line)
        self._rows.addRow(self.use)
        self.browse.clicked.connect(self._ask_config)
        self.use.clicked.connect(self._answer)
        for field in (self.sources, self.targets, self.config):
            field.textChanged.connect(self._check)
        self.setVisible(False)

    def ask(self, lacking: Lacking) -> None:
        """Show the fields that a file needs."""
        self.lacking = lacking
        channels = lacking.what == "channels"
        self.why.setText(
            f"{lacking.path.name} was made elsewhere: name its channels, in its order, with commas between them."
            if channels
            else f"{lacking.path.name} was made by VisCy: choose the configuration it was trained with."
        )
        for row, shown in ((1, channels), (2, channels), (3, not channels)):
            self._rows.setRowVisible(row, shown)
        for field in (self.sources, self.targets):
            field.clear()
        self.config.setText(str(lacking.config or ""))
        self._check()
        self.setVisible(True)

    def answer(self) -> Elsewhere:
        """Return what was said."""
        if self.lacking is not None and self.lacking.what == "config":
            return Elsewhere(config=Path(self.config.text().strip()))
        return Elsewhere(sources=_names(self.sources.text()), targets=_names(self.targets.text()))

    def _check(self, *_: object) -> None:
        said = self.answer()
        if self.lacking is not None and self.lacking.what == "config":
            self.use.setEnabled(bool(self.config.text().strip()))
        else:
            self.use.setEnabled(bool(said.sources and said.targets))

    def _answer(self) -> None:
        if self.lacking is not None:
            self._then(self.lacking.path, self.answer())

    def _ask_config(self) -> None:
        start = str(self.lacking.path.parent) if self.lacking else ""
        kinds = "Configurations (*.yml *.yaml *.json)"
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose the configuration of this model", start, kinds)
        if chosen:
            self.config.setText(chosen)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
