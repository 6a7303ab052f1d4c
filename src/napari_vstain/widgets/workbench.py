"""The workbench: every step of the work in one dock, one above the other, each opened when it is needed."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_vstain.widgets.data import DataSection
from napari_vstain.widgets.deploy import DeploySection
from napari_vstain.widgets.dock import Dock
from napari_vstain.widgets.evaluate import EvaluateSection
from napari_vstain.widgets.predict import PredictSection
from napari_vstain.widgets.section import Condition, Section, SectionState
from napari_vstain.widgets.style import eliding, rule
from napari_vstain.widgets.train import TrainSection

SECTIONS: tuple[type[Section], ...] = (DataSection, TrainSection, PredictSection, EvaluateSection, DeploySection)
"""In the order of the work; annotation goes between data and training."""
_MARKS = {
    Condition.WAITING: ("", "#8f959e"),
    Condition.READY: ("", "#8f959e"),
    Condition.BUSY: ("● ", "#4aa3ff"),
    Condition.DONE: ("✓ ", "#54b36b"),
    Condition.FAILED: ("! ", "#e8837c"),
}


class WorkbenchDock(Dock):
    """All sections, collapsible; Data and Predict are open at first."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.steps = [Step(number, kind(self.desk)) for number, kind in enumerate(SECTIONS, start=1)]
        for step in self.steps:
            self.inside.addWidget(step)
            step.open(isinstance(step.section, DataSection | PredictSection))
        self.inside.addStretch(1)

    def section(self, kind: type[Section]) -> Any:
        """Return the section of a class."""
        return next(step.section for step in self.steps if isinstance(step.section, kind))


class Step(QWidget):
    """One section under a header that opens and closes it and says how it is doing."""

    def __init__(self, number: int, section: Section) -> None:
        super().__init__()
        self.section = section
        self._header = QToolButton()
        self._header.setText(f" {number}  {section.title}")
        self._header.setCheckable(True)
        self._header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._header.setStyleSheet(
            "QToolButton { border: none; background: transparent; padding: 5px 4px; }"
            "QToolButton { font-weight: bold; font-size: 13px; }"
        )
        self._header.toggled.connect(self.open)
        self._colour = ""
        self._summary = eliding()
        self._summary.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        line = QHBoxLayout()
        line.setContentsMargins(2, 0, 8, 0)
        line.addWidget(self._header)
        line.addWidget(self._summary, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(line)
        column.addWidget(section)
        column.addWidget(rule())
        section.state.connect(self._reflect)
        self._reflect(section.now)

    def open(self, wanted: bool) -> None:
        """Show or hide the section."""
        self._header.setChecked(wanted)
        self._header.setArrowType(Qt.ArrowType.DownArrow if wanted else Qt.ArrowType.RightArrow)
        self.section.setVisible(wanted)

    def _reflect(self, state: SectionState) -> None:
        mark, colour = _MARKS[state.condition]
        if colour != self._colour:  # a new style costs milliseconds, and progress comes often
            self._colour = colour
            self._summary.setStyleSheet(f"color: {colour};")
        self._summary.setText(mark + state.summary)
        self._summary.setToolTip(state.summary)
