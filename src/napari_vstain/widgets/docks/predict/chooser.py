"""Choose the model that predicts: a run of the workspace, or a file; what a third-party one lacks is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_vstain.core.experiments import Run
from napari_vstain.core.models.files.model_file import open_model
from napari_vstain.core.models.files.model_notes import Lacks, ModelNotes
from napari_vstain.core.progress import Progress
from napari_vstain.core.session import Model, model_at, recall_model, runs_of
from napari_vstain.widgets.docks.predict.third_party import ThirdPartyForm
from napari_vstain.widgets.kit.style import note, shrinkable
from napari_vstain.widgets.kit.text import arrow
from napari_vstain.widgets.main_thread import LatestOnly
from napari_vstain.widgets.viewer_context import ViewerContext


class ModelChooser(QWidget):
    """A list of models, a button for files, and what the chosen model expects. The session holds the choice."""

    asked = Signal()
    """A model is being read."""
    failed = Signal(object)
    """Why it could not be read."""

    def __init__(self, context: ViewerContext) -> None:
        super().__init__()
        self._context, self._session = context, context.session
        self._listing, self._loading, self._unasked = LatestOnly(), LatestOnly(), LatestOnly()
        self._runs: list[Run] = []
        self._told: dict[Path, ModelNotes] = {}
        self._build()
        self.file.clicked.connect(self._ask_file)
        self.models.activated.connect(self._choose)

    def list_runs(self, *_: object) -> None:
        """Offer the workspace's runs; unless a model is chosen, choose the one that was used last, else the newest."""
        workspace = self._session.workspace

        def look(progress: Progress) -> tuple[list[Run], Model | None]:
            return runs_of(workspace) if workspace else [], recall_model(workspace)

        self._call(look, self._listing.ask(self._show_listing))

    def list_new_runs(self, *_: object) -> None:
        """Offer the runs after a training: its own is chosen, unless somebody chose a file."""
        self._call(lambda progress: self._session.runs(), self._listing.ask(self._choose_new))

    def use_file(self, path: Path, *, again: bool = False) -> None:
        """Predict with a checkpoint or an ONNX file; what a third-party one does not say is asked for.

        Parameters
        ----------
        again : bool
            Ask also when it was said before, so that it can be corrected.
        """
        if path in self._told and not again:
            self.use_third_party(path, self._told[path])
            return
        self.asked.emit()
        self.third_party.setVisible(False)
        self._call(lambda progress: open_model(path).lacks() or model_at(path), self._loading.ask(self._read))

    def use_third_party(self, path: Path, notes: ModelNotes) -> None:
        """Predict with a third-party model, now that it is said what it takes and gives."""
        self.asked.emit()
        self.third_party.setEnabled(False)
        self._call(lambda progress: model_at(path, None, notes), self._loading.ask(self._read))

    def show_model(self, model: Model | None) -> None:
        """Show a model as the chosen one."""
        self.expects.setText(_expectation(model) if model else "")
        self.expects.setVisible(model is not None)
        if model is not None:
            self._show_name(model)
            if model.notes is not None:
                self._told[model.path] = model.notes

    def _read(self, found: Model | Lacks) -> None:
        self.third_party.setEnabled(True)
        if isinstance(found, Lacks):
            self.third_party.ask(found, self._told.get(found.path))
        else:
            self._chose(found)

    def _show_runs(self, runs: list[Run]) -> None:
        self.models.blockSignals(True)
        self.models.clear()
        for run in runs:
            self.models.addItem(run.label, run)
        self.models.blockSignals(False)
        self.show_model(self._session.model)
        self._runs = runs

    def _show_listing(self, found: tuple[list[Run], Model | None]) -> None:
        runs, last = found
        self._show_runs(runs)
        preselect = self._unasked.ask(self._preselect)  # what is still read for another workspace comes too late
        if last is not None:
            preselect(last)
        elif runs and not self._session.model_stays:
            self._call(lambda progress: model_at(runs[0].checkpoint, runs[0]), preselect)

    def _preselect(self, model: Model) -> None:
        """Choose a model that nobody asked for, unless somebody has chosen meanwhile."""
        if not self._session.model_stays:
            self._session.choose_model(model, preselected=True)
            self.show_model(model)

    def _choose_new(self, runs: list[Run]) -> None:
        before, model = self._runs, self._session.model
        self._show_runs(runs)
        trained = runs[:1] != before[:1] or (model is not None and [model.run] == runs[:1])
        if runs and trained and (model is None or model.run is not None or self._session.preselected):
            self._choose(0)

    def _choose(self, index: int) -> None:
        chosen = self.models.itemData(index)
        if isinstance(chosen, Run):
            self.asked.emit()
            self.models.setCurrentIndex(index)
            self._call(lambda progress: model_at(chosen.checkpoint, chosen), self._loading.ask(self._chose))
        elif isinstance(chosen, Path):
            self.use_file(chosen)

    def _chose(self, model: Model) -> None:
        self.third_party.setVisible(False)
        self._session.choose_model(model)
        self._session.remember_model()
        self.show_model(model)

    def _show_name(self, model: Model) -> None:
        data = model.run or model.path
        places = [at for at in range(self.models.count()) if self.models.itemData(at) == data]
        self.models.blockSignals(True)
        if not places:
            self.models.addItem(model.name, data)
        self.models.setCurrentIndex(places[0] if places else self.models.count() - 1)
        self.models.blockSignals(False)
        self.models.setToolTip(str(model.path))

    def _call(self, function: Callable[[Progress], Any], then: Callable[[Any], object]) -> None:
        self._context.pump.call(self._session, function, then, self._refuse, self)

    def _refuse(self, error: BaseException) -> None:
        self.third_party.setEnabled(True)
        self.failed.emit(error)

    def _ask_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose a model", "", "Models (*.ckpt *.onnx)")
        if chosen:
            self.use_file(Path(chosen), again=True)

    def _build(self) -> None:
        self.models = shrinkable(QComboBox())
        self.models.setPlaceholderText("no model yet")
        self.file = QPushButton("File…")
        self.file.setToolTip("Choose a checkpoint (.ckpt) or an ONNX file (.onnx).")
        self.third_party = ThirdPartyForm(self.use_third_party)
        self.expects = note()
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(QLabel("Model"))
        line.addWidget(self.models, 1)
        line.addWidget(self.file)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(line)
        column.addWidget(self.third_party)
        column.addWidget(self.expects)


def _expectation(model: Model) -> str:
    """Return what a model takes and gives: ``Phase → Nuclei · 2D · trained at 0.108 µm``."""
    spec = model.spec
    scale = f" · trained at {spec.spacing_um[2]:.3g} µm" if spec.spacing_um else ""
    return f"{arrow(spec.sources, spec.targets)} · {spec.dimensions}{scale}"
