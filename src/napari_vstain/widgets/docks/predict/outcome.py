"""What a prediction says while it runs and when it has ended: progress, result, what to keep in mind, the engine."""

from pathlib import Path
from time import monotonic
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from napari_vstain.core.inference.streaming import Unlike
from napari_vstain.core.jobs import JobStatus
from napari_vstain.core.session import AccuracyNote, EngineInfo
from napari_vstain.widgets.docks.predict.cautions import Cautions
from napari_vstain.widgets.docks.predict.keys import FLIP_KEY
from napari_vstain.widgets.kit.progress_bar import ProgressBar
from napari_vstain.widgets.kit.style import note
from napari_vstain.widgets.kit.text import count, duration, pixels, progress_line, rate


class PredictionOutcome(QWidget):
    """The lines below the button; the section's line for what went wrong is among them."""

    def __init__(self, problem: QLabel) -> None:
        super().__init__()
        self.bar, self.result, self.cautions, self.engine = ProgressBar(), note(), Cautions(), note()
        self.link = QCheckBox("Same contrast for target and prediction")
        self.link.setToolTip("Show what was measured and what was predicted at the same scale.")
        self._status, self._title, self._painted, self._began = JobStatus(), "", "", monotonic()
        self._clock = QTimer(self)
        self._clock.setInterval(1000)
        self._clock.timeout.connect(self._tick)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        for line in (self.bar, self.result, problem, self.cautions, self.link, self.engine):
            column.addWidget(line)
        for line in (self.bar, self.result, self.link, self.engine):
            line.setVisible(False)

    def begin(self) -> None:
        """Forget the one before."""
        self.clear()
        self.bar.show_progress(0, None)
        self.bar.setVisible(True)
        self.result.setVisible(True)
        self.result.setText("Loading the model…")
        self._began = monotonic()

    def end(self) -> None:
        """Show no progress any more."""
        self.bar.setVisible(False)
        self._clock.stop()

    def clear(self) -> None:
        """Show nothing of any prediction."""
        self.end()
        self.cautions.clear()
        self._painted = ""
        self.result.setText("")
        self.result.setToolTip("")
        self.result.setVisible(False)

    def reflect(self, status: JobStatus, title: str) -> str:
        """Show how far it is, and of what; return it in words."""
        self._status, self._title = status, title
        self.bar.show_progress(status.done, status.total)
        if status.total is None:
            self._clock.start()
        else:
            self._clock.stop()
        return self._tick()

    def painted(self, status: JobStatus, title: str) -> None:
        """Say what is predicted."""
        amount = ", ".join(filter(None, (pixels(1e6 * status.total) if status.total else "", rate(status))))
        self._painted = f"Predicted {title} ({amount})." if amount else f"Predicted {title}."

    def offer_pair(self, pair: bool, linked: bool) -> None:
        """Offer to flip between target and prediction, and to show them at scales of their own, where both are."""
        self.link.setVisible(pair)
        self.link.setChecked(linked)
        if self._painted:
            flip = f" Hold {FLIP_KEY} to see the target instead." if pair else ""
            self.result.setText(self._painted + flip)

    def saved(self, result: Any) -> str:
        """Say what positions are predicted; return it in a few words."""
        positions = count(len(result.positions), "position")
        self.result.setText(f"Saved {positions} in {Path(result.store).name}.")
        self.result.setToolTip(str(result.store))
        self.cautions.add(*result.warnings)
        return f"{positions} saved"

    def take(self, item: object) -> None:
        """Show what a job says of itself: what it runs on, what to keep in mind."""
        if isinstance(item, EngineInfo):
            self.engine.setText(f"{item.engine} · {item.device} · {item.precision}")
            self.engine.setVisible(True)
        elif isinstance(item, Unlike):
            self.cautions.add(*item.warnings)
        elif isinstance(item, AccuracyNote):
            self.cautions.add(f"The prediction is not exact: {item.sentence}.")

    def _tick(self) -> str:
        """Say how far it is; of what cannot be counted, for how long already."""
        since = f" · {duration(monotonic() - self._began)}" if self._status.total is None else ""
        of = f"{self._title}: " if self._title else ""
        text = f"{of}{progress_line(self._status)}{since}"
        self.result.setText(text)
        return text

    def stopped(self, kept: str) -> None:
        """Say that it was stopped, and what stays."""
        self.result.setText(f"Stopped: {kept}.")
