"""How the docks look: a few styles on top of napari's theme, and the widths that fit a small screen."""

from typing import Any

from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QSizePolicy, QWidget
from superqt import QElidingLabel

MAX_WIDTH = 380
"""Widest that a section asks for, in pixels."""
MIN_WIDTH = 280
_PRIMARY = """
QPushButton { background-color: #1f7ae0; color: white; font-weight: bold; padding: 9px 12px; border-radius: 4px; }
QPushButton:hover { background-color: #3b8fee; }
QPushButton:pressed { background-color: #155fb3; }
QPushButton:disabled { background-color: rgba(128, 128, 128, 70); color: rgba(160, 160, 160, 200); }
"""
_STOP = """
QPushButton { background-color: #b5403a; color: white; font-weight: bold; padding: 3px 10px; border-radius: 4px; }
QPushButton:hover { background-color: #cf534c; }
QPushButton:disabled { background-color: rgba(128, 128, 128, 70); color: rgba(200, 200, 200, 200); }
"""
_PROBLEM = "QLabel { background-color: #6b2522; color: #ffe9e7; border-radius: 4px; padding: 6px; }"
_CAUTION = "QLabel { background-color: #5c4310; color: #ffe2a3; border-radius: 4px; padding: 6px; }"
_NOTE = "QLabel { color: rgba(150, 155, 165, 255); }"
WRONG = "border: 1px solid #e05a52; background-color: rgba(190, 60, 50, 80);"
"""Style of an editor whose value breaks its rule."""


def primary(text: str) -> QPushButton:
    """Return the one button of a section that does its work."""
    button = QPushButton(text)
    button.setStyleSheet(_PRIMARY)
    button.setMinimumHeight(36)
    return button


def stop_button() -> QPushButton:
    """Return a Stop button."""
    button = QPushButton("Stop")
    button.setStyleSheet(_STOP)
    return button


def note(text: str = "") -> QLabel:
    """Return a quiet line that wraps: a hint, a state."""
    return _line(text, _NOTE)


def problem_line() -> QLabel:
    """Return the line for what went wrong; hidden while nothing did."""
    label = _line("", _PROBLEM)
    label.setVisible(False)
    return label


def caution_line() -> QLabel:
    """Return the line for what to keep in mind of a result; hidden while there is nothing."""
    label = _line("", _CAUTION)
    label.setVisible(False)
    return label


def rule() -> QFrame:
    """Return a thin horizontal line."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setStyleSheet("color: rgba(128, 128, 128, 90);")
    return line


def shrinkable(widget: QWidget) -> QWidget:
    """Let a widget be narrower than its text, and return it."""
    widget.setMinimumWidth(60)
    widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return widget


def eliding(text: str = "") -> Any:
    """Return a one-line label that ends in … when there is no room."""
    label = QElidingLabel(text)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def _line(text: str, style: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setStyleSheet(style)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setMinimumWidth(MIN_WIDTH - 40)
    return label
