"""Settings that are folded away until somebody wants them."""

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_vstain.widgets.kit.style import as_role


class Collapsible(QWidget):
    """A line that opens and closes what is under it; closed at first.

    Parameters
    ----------
    title : str
        What is on the line.
    content : widget, or a function that makes it
        A function is called once, when the content is first wanted.
    """

    def __init__(self, title: str, content: QWidget | Callable[[], QWidget]) -> None:
        super().__init__()
        self._make = content
        self._content: QWidget | None = None
        self.button = QToolButton()
        self.button.setText(f" {title}")
        self.button.setCheckable(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        as_role(self.button, "fold")
        self.button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.button.toggled.connect(self.open)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.button)
        if isinstance(content, QWidget):
            self.fill()
        self.open(False)

    def fill(self) -> None:
        """Make the content, if it is not there yet."""
        if self._content is None:
            self._content = self._make if isinstance(self._make, QWidget) else self._make()
            self._content.setVisible(self.button.isChecked())
            column = self.layout()
            assert column is not None
            column.addWidget(self._content)

    def open(self, wanted: bool) -> None:
        """Show or hide the content."""
        if wanted:
            self.fill()
        self.button.setChecked(wanted)
        self.button.setArrowType(Qt.ArrowType.DownArrow if wanted else Qt.ArrowType.RightArrow)
        if self._content is not None:
            self._content.setVisible(wanted)
