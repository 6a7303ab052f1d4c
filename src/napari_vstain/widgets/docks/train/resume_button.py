"""The button that goes on with a training that was interrupted; it is there while there is one."""

from collections.abc import Callable

from qtpy.QtWidgets import QPushButton

from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.widgets.main_thread import LatestOnly
from napari_vstain.widgets.section import Section


class ResumeButton(QPushButton):
    """Offers the last run of the experiment that `experiment()` names; "" while none is named."""

    def __init__(self, section: Section, experiment: Callable[[], str]) -> None:
        super().__init__()
        self.run: Run | None = None
        """The run that can be gone on with."""
        self._section, self._experiment, self._looking = section, experiment, LatestOnly()
        self.setVisible(False)
        for signal in (section.session.workspace_changed, section.session.runs_changed):
            section.connect_session(signal, self.look)

    def look(self, *_: object) -> None:
        """See, in the background, whether the experiment's last run was interrupted."""
        section, workspace = self._section, self._section.session.workspace
        name = self._experiment()
        if workspace is None or not name:
            self._looking.ask(self._offer)(None)
        else:
            section.call(lambda progress: interrupted(workspace.experiment(name)), self._looking.ask(self._offer))

    def _offer(self, found: tuple[Run, str] | None) -> None:
        self.run, said = found if found is not None else (None, "")
        self.setText(f"Go on with {self.run.name}" if self.run is not None else "")
        self.setToolTip(said)
        self.setVisible(found is not None and self._section.job is None)


def interrupted(experiment: Experiment) -> tuple[Run, str] | None:
    """Return the experiment's last run and what became of it, if it can be gone on with; reads files."""
    last = next(reversed(experiment.runs()), None)
    if last is None or not last.interrupted:
        return None
    return last, f"{last.label} {last.status}. It goes on in its own folder, with its own settings."
