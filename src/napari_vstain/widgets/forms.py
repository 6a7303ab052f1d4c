"""A settings model becomes a form: one row a field, with its title, unit, bounds and description."""

from collections.abc import Sequence
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
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

from napari_vstain.widgets.style import mark_wrong, shrinkable

_LIMIT = 2**31 - 1


class SettingsForm(QWidget):
    """Editors for some fields of a settings model; the others keep their defaults.

    A value that breaks its rule marks its editor, says why in its tooltip, and empties `values`.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], fields: Sequence[str]) -> None:
        super().__init__()
        self._model = model
        self.editors = {name: Editor(model.model_fields[name], name) for name in fields}
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

    def __init__(self, field: FieldInfo, name: str) -> None:
        self.title = field.title or name.replace("_", " ").capitalize()
        self.default = field.get_default(call_default_factory=True)
        self._tip = field.description or ""
        self._kind, self._optional = _plain_type(field.annotation)
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

    def _make(self, field: FieldInfo) -> Any:
        if self._kind is bool:
            return QCheckBox()
        if choices := _choices(self._kind):
            return _combo(choices)
        if self._kind is int:
            return _number(QSpinBox(), field, self._optional, step=1)
        if self._kind is float:
            return _number(QDoubleSpinBox(), field, self._optional, step=0.1)
        return shrinkable(QLineEdit())


def _plain_type(annotation: Any) -> tuple[Any, bool]:
    """Return ``(type, optional)``, None taken out of a union."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _choices(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return list(kind) if isinstance(kind, type) and issubclass(kind, Enum) else []


def _combo(choices: list[Any]) -> QComboBox:
    combo = QComboBox()
    for choice in choices:
        combo.addItem(str(choice.value if isinstance(choice, Enum) else choice), choice)
    return combo


def _number(box: Any, field: FieldInfo, optional: bool, step: float) -> Any:
    low, high = _bounds(field, step)
    if isinstance(box, QDoubleSpinBox):
        step = 0.001 if high <= 1 else step
        box.setDecimals(4)
        box.setSingleStep(step)
    box.setRange(low - step if optional else low, high)
    if optional:
        box.setSpecialValueText("automatic")
    unit = (field.json_schema_extra or {}).get("unit") if isinstance(field.json_schema_extra, dict) else None
    box.setSuffix(f" {unit}" if unit else "")
    box.setKeyboardTracking(False)
    return box


def _bounds(field: FieldInfo, step: float) -> tuple[Any, Any]:
    low: Any = 0
    high: Any = _LIMIT if step == 1 else 1e9
    for rule in field.metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    return low, high


def _problems(model: type[BaseModel], values: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong with `values`, by field; fields that are not among them are not judged."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        found = {str(problem["loc"][0]): problem["msg"] for problem in error.errors() if problem["loc"]}
        return {name: message for name, message in found.items() if name in values}
    return {}
