"""The workbench: every step of the work in one dock, one above the other, each opened when it is needed."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_vstain.widgets.dock import Dock
from napari_vstain.widgets.docks.data import DataSection
from napari_vstain.widgets.docks.deploy import DeploySection
from napari_vstain.widgets.docks.evaluate import EvaluateSection
from napari_vstain.widgets.docks.predict import PredictSection
from napari_vstain.widgets.docks.train import TrainSection
from napari_vstain.widgets.kit.style import as_role, eliding, rule, show_state
from napari_vstain.widgets.section import Condition, Section, SectionState

SECTIONS: tuple[type[Section], ...] = (DataSection, TrainSection, PredictSection, EvaluateSection, DeploySection)
"""In the order of the work; annotation goes between data and training."""
_MARKS = {Condition.BUSY: "● ", Condition.DONE: "✓ ", Condition.CAUTION: "⚠ ", Condition.FAILED: "! "}


class WorkbenchDock(Dock):
    """All sections, collapsible; Data and Predict are open at first."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.steps = [Step(number, kind(self.context)) for number, kind in enumerate(SECTIONS, start=1)]
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
        as_role(self._header, "heading")
        self._header.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._header.toggled.connect(self.open)
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
        show_state(self._summary, state.condition)
        self._summary.setText(_MARKS.get(state.condition, "") + state.summary)
        self._summary.setToolTip(state.summary)
