"""How the docks look: one style sheet made from the window's theme, the roles it knows, widths for a small screen."""

from typing import Any

from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QSizePolicy, QWidget
from superqt import QElidingLabel

from napari_vstain.widgets.kit.colours import WHITE, Colour, Theme, readable

MAX_WIDTH = 380
"""Widest that a section asks for, in pixels."""
MIN_WIDTH = 280
_BLUE, _RED = Colour.of("#1f7ae0"), Colour.of("#b5403a")
_STATES = {"waiting": "", "ready": "", "busy": "#4aa3ff", "done": "#54b36b", "failed": "#e8837c", "caution": "#d9a13b"}
"""Hues of the states that a line can be in; the quiet colour where there is none."""
WRONG = "border: 1px solid #e05a52; background-color: rgba(190, 60, 50, 80);"
"""Style of an editor whose value breaks its rule; see `mark_wrong`."""
_SHEET = """
QLabel[vstain="note"], QLabel[vstain="device"], QLabel[state] {{ color: {quiet}; }}
QLabel[vstain="device"] {{ font-size: 11px; }}
QLabel[vstain="problem"] {{ background-color: {problem}; color: {on_problem}; border-radius: 4px; padding: 6px; }}
QLabel[vstain="caution"] {{ background-color: {caution}; color: {on_caution}; border-radius: 4px; padding: 6px; }}
QFrame[vstain="rule"] {{ color: {line}; }}
QPushButton[vstain="primary"], QPushButton[vstain="stop"] {{ color: white; font-weight: bold; border-radius: 4px; }}
QPushButton[vstain="primary"] {{ background-color: {blue}; padding: 9px 12px; }}
QPushButton[vstain="primary"]:hover {{ background-color: {blue_under_mouse}; }}
QPushButton[vstain="primary"]:pressed {{ background-color: {blue_pressed}; }}
QPushButton[vstain="stop"] {{ background-color: {red}; padding: 3px 10px; }}
QPushButton[vstain="stop"]:hover {{ background-color: {red_under_mouse}; }}
QPushButton[vstain="menu"] {{ padding: 5px 12px; }}
QPushButton[vstain="menu"]::menu-indicator {{ image: none; }}
QToolButton[vstain="heading"] {{ border: 1px solid transparent; background: transparent; padding: 4px 3px; }}
QToolButton[vstain="heading"] {{ font-weight: bold; font-size: 13px; }}
QToolButton[vstain="fold"] {{ border: 1px solid transparent; background: transparent; padding: 1px 0; }}
QPushButton:disabled, QComboBox:disabled, QAbstractSpinBox:disabled, QLineEdit:disabled, QToolButton:disabled,
QPushButton[vstain="primary"]:disabled, QPushButton[vstain="stop"]:disabled
  {{ background-color: {disabled}; color: {on_disabled}; border: 1px solid {line}; }}
QToolButton[vstain="fold"]:disabled {{ border-color: transparent; background: transparent; color: {quiet}; }}
QCheckBox:disabled, QLabel:disabled {{ color: {quiet}; }}
QAbstractItemView:disabled {{ color: {on_disabled}; background-color: {disabled}; }}
QPushButton:hover, QComboBox:hover, QToolButton:hover {{ background-color: {under_mouse}; }}
QPushButton:focus, QComboBox:focus, QAbstractSpinBox:focus, QLineEdit:focus, QToolButton:focus, QCheckBox:focus,
QToolButton[vstain]:focus, QAbstractItemView:focus {{ border: 1px solid {ring}; }}
QPushButton[vstain]:focus {{ border: 2px solid {ring_on_button}; }}
QTableView::indicator:unchecked {{ border: 1px solid {quiet}; border-radius: 2px; width: 11px; height: 11px; }}
QHeaderView::section {{ background-color: {disabled}; color: {text}; }}
PlateMap, ProgressBar, LossPlot {{ color: {quiet}; selection-background-color: {mark}; selection-color: {text}; }}
PlateMap, ProgressBar, LossPlot {{ alternate-background-color: {line}; background-color: {ground}; }}
"""


def style_sheet(theme: Theme) -> str:
    """Return the style sheet of a dock in a window of this theme: every text can be read on what is behind it."""
    ground, text = theme.background, theme.text
    problem, caution = ground.mixed(_RED, 0.4), ground.mixed(Colour.of("#c08a20"), 0.35)
    disabled = ground.mixed(theme.raised, 0.4)
    blue, red = readable(_BLUE, WHITE), readable(_RED, WHITE)
    colours = {
        "ground": ground, "text": text,
        "quiet": quiet(theme),
        "problem": problem, "on_problem": readable(text, problem),
        "caution": caution, "on_caution": readable(text, caution),
        "line": ground.mixed(text, 0.25),
        "disabled": disabled, "on_disabled": readable(text.mixed(disabled, 0.45), disabled),
        "blue": blue, "blue_under_mouse": blue.mixed(Colour(0, 0, 0), 0.15), "blue_pressed": blue.mixed(ground, 0.3),
        "red": red, "red_under_mouse": red.mixed(Colour(0, 0, 0), 0.15),
        "under_mouse": theme.raised.mixed(ground, 0.3),
        "ring": readable(_BLUE, ground, 3.0), "ring_on_button": readable(text, blue, 3.0),
        "mark": readable(_BLUE, ground, 3.0),
    }  # fmt: skip
    states = [
        f'QLabel[state="{state}"] {{ color: {readable(Colour.of(hue), ground) if hue else quiet(theme)}; }}'
        for state, hue in _STATES.items()
    ]
    return _SHEET.format(**{name: str(colour) for name, colour in colours.items()}) + "\n".join(states)


def quiet(theme: Theme) -> Colour:
    """Return the colour of a hint: between the text and what is behind it, and still readable."""
    return readable(theme.text.mixed(theme.background, 0.4), theme.background)


def as_role(widget: Any, role: str) -> Any:
    """Give a widget a role that the style sheet knows, and return it."""
    widget.setProperty("vstain", role)
    return widget


def show_state(label: QWidget, state: str) -> None:
    """Colour a line by the state it tells of; costs milliseconds where the state is another than before."""
    if label.property("state") != state:
        label.setProperty("state", state)
        if (style := label.style()) is not None:
            style.unpolish(label)
            style.polish(label)


def mark_wrong(editor: QWidget, wrong: bool) -> None:
    """Colour an editor whose value breaks its rule; costs milliseconds where it was right before, or the reverse.

    Qt styles an editor anew, and lays out what is around it, even if its style sheet is the one that it has.
    """
    style = WRONG if wrong else ""
    if editor.styleSheet() != style:
        editor.setStyleSheet(style)


def primary(text: str) -> QPushButton:
    """Return the one button of a section that does its work."""
    button: QPushButton = as_role(QPushButton(text), "primary")
    button.setMinimumHeight(36)
    return button


def stop_button() -> QPushButton:
    """Return a Stop button."""
    button: QPushButton = as_role(QPushButton("Stop"), "stop")
    return button


def note(text: str = "") -> QLabel:
    """Return a quiet line that wraps: a hint, a state."""
    return _line(text, "note")


def problem_line() -> QLabel:
    """Return the line for what went wrong; hidden while nothing did."""
    label = _line("", "problem")
    label.setVisible(False)
    return label


def caution_line() -> QLabel:
    """Return the line for what to keep in mind of a result; hidden while there is nothing."""
    label = _line("", "caution")
    label.setVisible(False)
    return label


def rule() -> QFrame:
    """Return a thin horizontal line."""
    line: QFrame = as_role(QFrame(), "rule")
    line.setFrameShape(QFrame.Shape.HLine)
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


def _line(text: str, role: str) -> QLabel:
    label: QLabel = as_role(QLabel(text), role)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setMinimumWidth(MIN_WIDTH - 40)
    return label
