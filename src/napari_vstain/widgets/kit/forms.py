"""A settings model becomes a form: one row a field, with its title, unit, bounds and description."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_vstain.core.fields import Bound, FieldKind, SettingsField, fields_of
from napari_vstain.widgets.kit.style import mark_wrong, shrinkable

_DECIMALS = 4
_MOST = {FieldKind.INTEGER: 2**31 - 1, FieldKind.NUMBER: 1e9}


class SettingsForm(QWidget):
    """Editors for some fields of a settings model; the others keep their defaults.

    A value that breaks its rule marks its editor, says why in its tooltip, and empties `values`.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], fields: Sequence[str]) -> None:
        super().__init__()
        self._model = model
        known = fields_of(model)
        self.editors = {name: Editor(known[name]) for name in fields}
        self.problems: dict[str, str] = {}
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for editor in self.editors.values():
            rows.addRow(QLabel(editor.title), editor.widget)
            editor.on_change(self._check)

    def values(self) -> dict[str, Any]:
        """Return the values that differ from the model's defaults; they are valid while `problems` is empty."""
        found = {name: editor.value() for name, editor in self.editors.items()}
        return {name: value for name, value in found.items() if value != self.editors[name].default}

    def set_values(self, values: dict[str, Any]) -> None:
        """Show other values."""
        for name, value in values.items():
            if name in self.editors:
                self.editors[name].set_value(value)

    def restore_defaults(self) -> None:
        """Show the model's defaults."""
        for editor in self.editors.values():
            editor.set_value(editor.default)

    def _check(self) -> None:
        self.problems = _problems(self._model, {name: editor.value() for name, editor in self.editors.items()})
        for name, editor in self.editors.items():
            editor.mark(self.problems.get(name, ""))
        self.changed.emit()


class Editor:
    """One field: the widget that fits its type, and its value in Python's terms."""

    def __init__(self, field: SettingsField) -> None:
        self.title, self.default = field.title, field.default
        self._tip, self._optional = field.description, field.type.optional
        self.widget = self._make(field)
        self.set_value(self.default)
        self.mark("")

    def value(self) -> Any:
        """Return what the user chose; None where an optional field is left empty."""
        widget = self.widget
        if isinstance(widget, QCheckBox):
            return widget.isChecked()
        if isinstance(widget, QComboBox):
            return widget.currentData()
        if isinstance(widget, QSpinBox | QDoubleSpinBox):
            return None if self._optional and widget.value() == widget.minimum() else widget.value()
        text = widget.text().strip()
        return None if self._optional and not text else text

    def set_value(self, value: Any) -> None:
        """Show a value."""
        widget = self.widget
        if isinstance(widget, QCheckBox):
            widget.setChecked(bool(value))
        elif isinstance(widget, QComboBox):
            widget.setCurrentIndex(max(widget.findData(value), 0))
        elif isinstance(widget, QSpinBox | QDoubleSpinBox):
            widget.setValue(widget.minimum() if value is None else value)
        else:
            widget.setText("" if value is None else str(value))

    def mark(self, problem: str) -> None:
        """Colour the editor when something is wrong with its value, and say what in its tooltip."""
        mark_wrong(self.widget, bool(problem))
        self.widget.setToolTip(problem or self._tip)

    def on_change(self, slot: Any) -> None:
        """Call `slot()` when the user changes the value."""
        widget = self.widget
        for signal in ("toggled", "currentIndexChanged", "valueChanged", "textChanged"):
            if hasattr(widget, signal):
                getattr(widget, signal).connect(lambda *_: slot())
                return

    def _make(self, field: SettingsField) -> Any:
        match field.type.kind:
            case FieldKind.YES_NO:
                return QCheckBox()
            case FieldKind.CHOICE:
                return _combo(field.type.choices)
            case FieldKind.INTEGER:
                return _number(QSpinBox(), field, smallest=1, step=1)
            case FieldKind.NUMBER:
                return _number(QDoubleSpinBox(), field, smallest=10**-_DECIMALS, step=0.1)
        return shrinkable(QLineEdit())


def _combo(choices: Sequence[Any]) -> QComboBox:
    combo = QComboBox()
    for choice in choices:
        combo.addItem(str(choice.value if isinstance(choice, Enum) else choice), choice)
    return combo


def _number(box: Any, field: SettingsField, smallest: float, step: float) -> Any:
    """Fit a box to the field's bounds; one that must not be reached is `smallest` away."""
    low, high = field.type.low or Bound(0, True), field.type.high or Bound(_MOST[field.type.kind], True)
    least = low.value if low.inclusive else low.value + smallest
    most = high.value if high.inclusive else high.value - smallest
    if isinstance(box, QDoubleSpinBox):
        step = 0.001 if most <= 1 else step
        box.setDecimals(_DECIMALS)
        box.setSingleStep(step)
    box.setRange(least - step if field.type.optional else least, most)
    if field.type.optional:
        box.setSpecialValueText("automatic")
    box.setSuffix(f" {field.unit}" if field.unit else "")
    box.setKeyboardTracking(False)
    return box


def _problems(model: type[BaseModel], values: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with `values`, by field; fields that are not among them are not judged."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        found = {str(problem["loc"][0]): problem["msg"] for problem in error.errors() if problem["loc"]}
        return {name: message for name, message in found.items() if name in values}
    return {}
