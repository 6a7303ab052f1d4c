"""What a prediction says while it runs and when it has ended: progress, result, what to keep in mind, the engine."""

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_vstain.core.inference.streaming import Unlike
from napari_vstain.core.jobs import JobStatus
from napari_vstain.core.session import Caveat, Engaged
from napari_vstain.widgets.bar import Bar
from napari_vstain.widgets.predict.keys import FLIP_KEY
from napari_vstain.widgets.predict.trust import Trust
from napari_vstain.widgets.style import note
from napari_vstain.widgets.wording import count, progress_line


class Outcome(QWidget):
    """The lines below the button; the section's line for what went wrong is among them."""

    def __init__(self, problem: QLabel) -> None:
        super().__init__()
        self.bar, self.result, self.trust, self.engine = Bar(), note(), Trust(), note()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        for line in (self.bar, self.result, problem, self.trust, self.engine):
            column.addWidget(line)
        for line in (self.bar, self.result, self.engine):
            line.setVisible(False)

    def begin(self) -> None:
        """Forget the one before."""
        self.trust.clear()
        self.bar.show_progress(0, None)
        self.bar.setVisible(True)
        self.result.setVisible(True)
        self.result.setText("Loading the model…")
        self.result.setToolTip("")

    def reflect(self, status: JobStatus) -> str:
        """Show how far it is; return it in words."""
        text = progress_line(status)
        self.result.setText(text)
        self.bar.show_progress(status.done, status.total)
        return text

    def take(self, item: Any) -> bool:
        """Show what a job says of itself; return False if it was something else."""
        if isinstance(item, Engaged):
            self.engine.setText(f"{item.engine} · {item.device} · {item.precision}")
            self.engine.setVisible(True)
        elif isinstance(item, Unlike):
            self.trust.say(*item.warnings)
        elif isinstance(item, Caveat):
            self.trust.say(f"The prediction is not exact: {item.sentence}.")
        else:
            return False
        return True

    def painted(self, status: JobStatus) -> None:
        """Say that the open images are predicted."""
        pixels = f"{status.total:.3g} Mpx" if status.total else ""
        speed = f", {status.rate:.3g} Mpx/s" if status.rate else ""
        self.result.setText(f"Predicted {pixels}{speed}. Hold {FLIP_KEY} to see the target instead.")

    def saved(self, result: Any) -> str:
        """Say what positions are predicted; return it in a few words."""
        positions = count(len(result.positions), "position")
        self.result.setText(f"Saved {positions} in {Path(result.store).name}.")
        self.result.setToolTip(str(result.store))
        self.trust.say(*result.warnings)
        return f"{positions} saved"

    def stopped(self, kept: str) -> None:
        """Say that it was stopped, and what stays."""
        self.result.setText(f"Stopped: {kept}.")
