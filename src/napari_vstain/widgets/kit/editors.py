"""The editor that fits a settings field: magicgui's for one value, a line of YAML for a value of many parts."""

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from magicgui import widgets as magic
from pydantic_core import to_jsonable_python
from qtpy.QtWidgets import QWidget

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.fields import Bound, FieldKind, FieldType, SettingsField
from napari_vstain.core.yaml_text import load_yaml
from napari_vstain.widgets.kit.style import mark_wrong, shrinkable

AUTOMATIC = "automatic"
"""What stands for None: a program decides."""
_MOST = {FieldKind.INTEGER: 2**53, FieldKind.NUMBER: 1e9}
"""What a box holds to the last digit."""
_BRACKETS = {FieldKind.LIST: ("[", "]"), FieldKind.TUPLE: ("[", "]"), FieldKind.MAPPING: ("{", "}")}
"""What YAML puts around such a value; the line spares people from typing it."""


class Editor:
    """The editor of one field: a widget, and its value in Python's terms."""

    widget: QWidget
    made: Any
    """magicgui's widget, which `widget` is the Qt side of."""

    def __init__(self, field: SettingsField) -> None:
        self.name, self.title, self.default = field.name, field.title, field.default
        self.tip, self.type = field.description, field.type
        self.widget = self._make(field)
        self.set_value(self.default)
        self.mark("")

    def value(self) -> Any:
        """Return what is shown; None where an optional field is left empty.

        Raises
        ------
        SettingsError
            When it is no value at all: text that cannot be read.
        """
        return self.made.value

    def set_value(self, value: Any) -> None:
        """Show a value."""
        self.made.value = value

    def mark(self, problem: str) -> None:
        """Colour the editor when something is wrong with its value, and say what in its tooltip."""
        mark_wrong(self.widget, bool(problem))
        self.widget.setToolTip(problem or self.tip)

    def on_change(self, slot: Callable[[], object]) -> None:
        """Call `slot()` when the value that is shown is another one."""
        self.made.changed.connect(lambda *_: slot())

    def _make(self, field: SettingsField) -> QWidget:
        """Return the widget, and keep magicgui's as `made`."""
        raise NotImplementedError


class YesNoEditor(Editor):
    """A check box."""

    def _make(self, field: SettingsField) -> QWidget:
        self.made = magic.CheckBox(text="")
        return _native(self.made)

    def set_value(self, value: Any) -> None:
        """Show a value; None, which a required field has, is shown as no."""
        self.made.value = bool(value)


class ChoiceEditor(Editor):
    """One of several values; that of an optional field may be automatic."""

    def _make(self, field: SettingsField) -> QWidget:
        self._values = ((None,) if field.type.optional else ()) + _choices(field.type)
        self.made = magic.ComboBox(choices=[(_label(value), place) for place, value in enumerate(self._values)])
        return shrinkable(_native(self.made))

    def value(self) -> Any:
        """Return the chosen value."""
        return self._values[self.made.value]

    def set_value(self, value: Any) -> None:
        """Show a value; the first one if it is none of them."""
        self.made.value = self._values.index(value) if value in self._values else 0


class ChoicesEditor(Editor):
    """Any of several values, in their order."""

    def _make(self, field: SettingsField) -> QWidget:
        self._values = _choices(field.type.parts[0])
        self.made = magic.Select(choices=[(_label(value), place) for place, value in enumerate(self._values)])
        rows: Any = self.made.native
        rows.setMaximumHeight(rows.sizeHintForRow(0) * len(self._values) + 2 * rows.frameWidth())
        return _native(self.made)

    def value(self) -> Any:
        """Return what is selected."""
        return tuple(self._values[place] for place in sorted(self.made.value))

    def set_value(self, value: Any) -> None:
        """Select values."""
        self.made.value = [place for place, known in enumerate(self._values) if known in (value or ())]


class NumberEditor(Editor):
    """A number within its bounds; a bound that must not be reached is one step away."""

    def _make(self, field: SettingsField) -> QWidget:
        kind, least, most = field.type.kind, field.type.low, field.type.high
        whole = kind is FieldKind.INTEGER
        # What must be greater than nothing and may be as large as one likes is of any size: a learning rate.
        decimals = 0 if whole else 8 if least == Bound(0, False) and most is None else 4
        low, high = least or Bound(-_MOST[kind], True), most or Bound(_MOST[kind], True)
        smallest = 10**-decimals
        step = 1 if whole else 0.001 if decimals == 8 or high.value <= 1 else 0.1
        bottom = max(low.value if low.inclusive else low.value + smallest, -_MOST[kind])
        top = min(high.value if high.inclusive else high.value - smallest, _MOST[kind])
        self.made = magic.FloatSpinBox(step=step)  # for whole numbers too: magicgui's box for those shows no unit
        box: Any = self.made.native
        box.setDecimals(decimals)
        self._kind = int if whole else float
        self._bottom, self._top = bottom, top
        self.made.min, self.made.max = bottom - step if field.type.optional else bottom, top
        if field.type.optional:
            box.setSpecialValueText(AUTOMATIC)
        box.setSuffix(f" {field.unit}" if field.unit else "")
        box.setKeyboardTracking(False)
        return _native(self.made)

    def value(self) -> Any:
        """Return the number, to the last digit where it was not touched; None where an optional one is automatic."""
        now = self._kind(self.made.value)
        if now == self._shown[0]:
            return self._shown[1]
        return None if self.type.optional and now == self._kind(self.made.min) else now

    def set_value(self, value: Any) -> None:
        """Show a number, as near as the bounds allow."""
        within = None if value is None else min(max(value, self._bottom), self._top)
        self.made.value = self.made.min if within is None else within
        now = self._kind(self.made.value)
        self._shown = (now, now if within is None and not self.type.optional else within)


class TextEditor(Editor):
    """A line of text; that of an optional field is None when it is empty."""

    def _make(self, field: SettingsField) -> QWidget:
        self.made = magic.LineEdit()
        return shrinkable(_native(self.made))

    def value(self) -> Any:
        """Return the text, without space around it."""
        text = self.made.value.strip()
        return None if self.type.optional and not text else text

    def set_value(self, value: Any) -> None:
        """Show a text."""
        self.made.value = "" if value is None else str(value)


class PathEditor(Editor):
    """A path, typed or chosen; None when it is empty."""

    def _make(self, field: SettingsField) -> QWidget:
        self.made = magic.FileEdit(mode="w", nullable=True)
        return shrinkable(_native(self.made))

    def value(self) -> Any:
        """Return the path."""
        text = self.made.line_edit.value.strip()
        return Path(text) if text else None

    def set_value(self, value: Any) -> None:
        """Show a path."""
        self.made.line_edit.value = "" if value is None else str(value)


class YamlEditor(TextEditor):
    """A value of several parts, or of one of several types, as a line of YAML: ``16, 32, 64`` or ``Phase: BF``."""

    def _make(self, field: SettingsField) -> QWidget:
        line = super()._make(field)
        self.made.native.setPlaceholderText(AUTOMATIC if field.type.optional else "")
        return line

    def value(self) -> Any:
        """Return what the line says; what was shown and not touched is returned as it was."""
        text, kind = self.made.value.strip(), self.type.kind
        if text == self._shown[0]:
            return self._shown[1]
        if not text and self.type.optional:
            return None
        start, end = _BRACKETS.get(kind, ("", ""))
        whole = text if start and text.startswith(start) else f"{start}{text}{end}"
        return load_yaml(whole, self.name, text, SettingsError, remedy="write it as YAML", floats=True)

    def set_value(self, value: Any) -> None:
        """Show a value."""
        text = "" if value is None else _as_line(value, _BRACKETS.get(self.type.kind, ("", "")))
        self._shown = (text.strip(), value)
        self.made.value = text


def _native(made: Any) -> QWidget:
    widget: QWidget = made.native
    return widget


def _as_line(value: Any, brackets: Sequence[str]) -> str:
    """Return a value as one line of YAML, without the outermost brackets unless others would then stand first."""
    plain = to_jsonable_python(value)
    text = yaml.safe_dump(plain, default_flow_style=True, width=2**20, allow_unicode=True, sort_keys=False)
    text = text.removesuffix("\n").removesuffix("\n...")
    start, end = brackets
    if not start or not (text.startswith(start) and text.endswith(end)):
        return text
    inner = text[1:-1]
    return text if inner.startswith(start) else inner


def _choices(kind: FieldType) -> tuple[Any, ...]:
    return (True, False) if kind.kind is FieldKind.YES_NO else kind.choices


def _label(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: AUTOMATIC, True: "yes", False: "no"}[value]
    return str(value.value if isinstance(value, Enum) else value)
