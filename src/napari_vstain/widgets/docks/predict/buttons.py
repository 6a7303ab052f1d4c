"""The button that predicts, the menu of what else can be predicted, and Stop in their place while it runs."""

from typing import Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_vstain.widgets.docks.predict.keys import PREDICT_KEY
from napari_vstain.widgets.kit.style import note, primary
from napari_vstain.widgets.live_prediction import Scope

Batch = Literal["this", "selected", "all"]
"""Which positions are predicted into the workspace."""
_SCOPES: dict[Scope, str] = {"view": "Predict what I see", "region": "Predict the drawn region"}
_BATCHES: dict[Batch, str] = {
    "this": "Predict this FOV and save it in the workspace",
    "selected": "Predict selected positions…",
    "all": "Predict all positions",
}


class RunButtons(QWidget):
    """What to predict; it says which, and starts nothing itself."""

    scope_wanted = Signal(str)
    batch_wanted = Signal(str)
    stop_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._tip = "Predicts the whole open field, what you look at first."
        self.go = primary(f"Predict this FOV   ({PREDICT_KEY})")
        self.more = self._more()
        self.stop = QPushButton("Stop")
        self.stop.setMinimumHeight(36)
        self.stop.setVisible(False)
        self.hint = note()
        self._arrange()
        self.go.clicked.connect(lambda: self.scope_wanted.emit("field"))
        self.stop.clicked.connect(self.stop_wanted)

    def reflect(self, running: bool, why_not: str, batch: bool) -> None:
        """Show Stop while something runs, else what can be predicted, and why nothing can.

        Parameters
        ----------
        batch : bool
            True when there are positions to predict into a workspace.
        """
        for button, shown in ((self.go, not running), (self.more, not running), (self.stop, running)):
            button.setVisible(shown)
        self.go.setEnabled(not why_not)
        self.go.setToolTip(why_not or self._tip)
        self.hint.setText(why_not)
        self.hint.setVisible(bool(why_not) and not running)
        for action in self.batches.values():
            action.setEnabled(batch)

    def reflect_stop(self, stopping: bool) -> None:
        """Offer to stop, or say that it was heard."""
        self.stop.setEnabled(not stopping)
        self.stop.setText("Stopping… (finishing tile)" if stopping else "Stop")

    def lose_key(self, holder: str) -> None:
        """Say that another action has the key."""
        self.go.setText("Predict this FOV")
        self._tip += f" (The key {PREDICT_KEY} is taken: {holder}.)"

    def _more(self) -> QToolButton:
        button = QToolButton()
        button.setText("▾")
        button.setToolTip("Predict something else")
        button.setMinimumHeight(36)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setStyleSheet("QToolButton::menu-indicator { image: none; } QToolButton { padding: 0 10px; }")
        button.setMenu(self._menu())
        return button

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        self.scopes = {scope: menu.addAction(text) for scope, text in _SCOPES.items()}
        menu.addSeparator()
        self.batches = {batch: menu.addAction(text) for batch, text in _BATCHES.items()}
        for scope, action in self.scopes.items():
            action.triggered.connect(lambda _=False, scope=scope: self.scope_wanted.emit(scope))
        for batch, action in self.batches.items():
            action.triggered.connect(lambda _=False, batch=batch: self.batch_wanted.emit(batch))
        return menu

    def _arrange(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(4)
        line.addWidget(self.go, 1)
        line.addWidget(self.more)
        line.addWidget(self.stop, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(line)
        column.addWidget(self.hint)
