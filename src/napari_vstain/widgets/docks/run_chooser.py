"""The runs of the workspace, newest first; the list stays on the run that somebody chose."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox

from napari_vstain.core.experiments import Run
from napari_vstain.widgets.kit.style import shrinkable
from napari_vstain.widgets.main_thread import LatestOnly
from napari_vstain.widgets.section import Section, silent


class RunChooser(QComboBox):
    """Chooses a run for a section; until somebody does, it is the newest."""

    changed = Signal()
    """Another run is chosen, or the list is another."""

    def __init__(self, section: Section) -> None:
        super().__init__()
        shrinkable(self)
        self._section, self._listing = section, LatestOnly()
        self._chosen: Run | None = None
        self.activated.connect(self._choose)
        self.currentIndexChanged.connect(lambda _: self.changed.emit())
        for signal in (section.session.workspace_changed, section.session.runs_changed):
            section.connect_session(signal, self.list_runs)

    @property
    def run(self) -> Run | None:
        """The chosen run, if there is one."""
        chosen: Run | None = self.currentData()
        return chosen

    def show_run(self, run: Run) -> None:
        """Choose a run, also before the list has come."""
        self._chosen = run
        runs = [self.itemData(index) for index in range(self.count())]
        with silent(self):
            if run not in runs:
                self.addItem(run.label, run)
            self.setCurrentIndex(runs.index(run) if run in runs else self.count() - 1)

    def list_runs(self, *_: object) -> None:
        """Look for the workspace's runs."""
        session = self._section.session
        if session.workspace is None:
            self._listing.ask(self._show)([])
        else:
            self._section.call(lambda progress: session.runs(), self._listing.ask(self._show))

    def _show(self, runs: list[Run]) -> None:
        self.blockSignals(True)
        self.clear()
        for run in runs:
            self.addItem(run.label, run)
        self.setCurrentIndex(runs.index(self._chosen) if self._chosen in runs else 0 if runs else -1)
        self.blockSignals(False)
        self.changed.emit()

    def _choose(self, index: int) -> None:
        self._chosen = self.itemData(index)
