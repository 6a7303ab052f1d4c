"""With the keyboard, and for screen readers: Tab goes as the screen is read, and every stop has a name."""

from collections.abc import Iterator
from itertools import islice, pairwise
from weakref import ref

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QFormLayout, QGridLayout, QHBoxLayout, QLabel, QLayout, QScrollArea, QWidget

_TAB = (Qt.FocusPolicy.TabFocus, Qt.FocusPolicy.StrongFocus, Qt.FocusPolicy.WheelFocus)


class TabOrder:
    """Puts what Tab stops at in the order in which it is laid out, and names it by its label or tooltip.

    A button with words on it needs no name, and must not get one: its words change, a name would stay.
    """

    def __init__(self, root: QWidget) -> None:
        self._root = root
        self._stops: list[ref[QWidget]] = []
        """In the order that they have now."""

    def arrange(self) -> None:
        """Look whether there are other stops than before, and do nothing if not."""
        stops = list(tab_stops(self._root))
        if stops == [known() for known in self._stops]:
            return
        self._stops = [ref(stop) for stop in stops]
        for first, second in pairwise(stops):
            QWidget.setTabOrder(first, second)
        nameless = [stop for stop in stops if not stop.accessibleName() and not says_a_word(stop)]
        labels = _labels(self._root) if nameless else {}
        for stop in nameless:
            stop.setAccessibleName(labels.get(stop, "") or stop.toolTip())


def tab_stops(widget: QWidget) -> Iterator[QWidget]:
    """Yield what Tab stops at in a widget, row by row, whether or not it is shown now."""
    if widget.focusPolicy() in _TAB and widget.focusProxy() is None and not isinstance(widget, QScrollArea):
        yield widget
    elif isinstance(widget, QScrollArea):
        inside = widget.widget()
        yield from tab_stops(inside) if inside is not None else ()
    else:
        yield from _stops_of(widget.layout())


def _stops_of(layout: QLayout | None) -> Iterator[QWidget]:
    if layout is None:
        return
    indices = list(range(layout.count()))
    if isinstance(layout, QGridLayout):
        indices.sort(key=lambda index: tuple(layout.getItemPosition(index) or ())[:2])
    for index in indices:
        item = layout.itemAt(index)
        if item is None:
            continue
        if (widget := item.widget()) is not None:
            yield from tab_stops(widget)
        else:
            yield from _stops_of(item.layout())


def _labels(root: QWidget) -> dict[QWidget, str]:
    """Return the text beside each editor: in a form, in a line, or of a label that is its buddy."""
    found: dict[QWidget, str] = {}
    for form in root.findChildren(QFormLayout):
        for row in range(form.rowCount()):
            field = form.itemAt(row, QFormLayout.ItemRole.FieldRole)
            label = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
            if field and label and isinstance(text := label.widget(), QLabel):
                inside = tab_stops(field.widget()) if field.widget() is not None else _stops_of(field.layout())
                found |= {stop: text.text() for stop in islice(inside, 1)}
    for line in root.findChildren(QHBoxLayout):
        items = [line.itemAt(index) for index in range(line.count())]
        for before, after in pairwise(item.widget() if item is not None else None for item in items):
            if isinstance(before, QLabel) and after is not None:
                found[after] = before.text()
    for label in root.findChildren(QLabel):
        if label.buddy() is not None:
            found[label.buddy()] = label.text()
    return found


def says_a_word(widget: QWidget) -> bool:
    """Return True for a button that bears more than a sign: screen readers read it."""
    return isinstance(widget, QAbstractButton) and any(letter.isalnum() for letter in widget.text())
