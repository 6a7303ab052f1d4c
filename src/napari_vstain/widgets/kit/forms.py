"""A settings model becomes a form: one row a field, with its title, unit, bounds and description."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.fields import FieldKind, FieldLevel, SettingsField, fields_of
from napari_vstain.core.settings import problems_of
from napari_vstain.widgets.kit.collapsible import Collapsible
from napari_vstain.widgets.kit.editors import (
    ChoiceEditor,
    ChoicesEditor,
    Editor,
    NumberEditor,
    PathEditor,
    TextEditor,
    YamlEditor,
    YesNoEditor,
)


class SettingsForm(QWidget):
    """Editors for the fields of a settings model, or for some; fields without one keep their defaults.

    Editors are made when the form is first shown. Advanced fields are folded away under `more`, and made when that is
    first opened; hidden ones are not shown. A value that breaks its rule marks its editor, says why in its tooltip,
    and stands in `problems`.
    """

    changed = Signal()

    def __init__(
        self,
        model: type[BaseModel],
        fields: Sequence[str] | None = None,
        *,
        without: Sequence[str] = (),
        more: str = "More settings",
    ) -> None:
        super().__init__()
        self._model = model
        known = fields_of(model)
        names = [name for name in (known if fields is None else fields) if name not in without]
        self._fields = {name: known[name] for name in names if known[name].level is not FieldLevel.HIDDEN}
        self._asked: dict[str, Any] = {}
        """Values of fields whose editors are not made yet."""
        self._editors: dict[str, Editor] = {}
        self._more_title = more
        self._more: Collapsible | None = None
        self._made = False
        self.errors: dict[str, SettingsError] = {}
        """What is wrong with what is shown, by field."""

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make the editors: a form in a section that nobody opens costs nothing."""
        self._make()
        super().showEvent(event)

    @property
    def editors(self) -> dict[str, Editor]:
        """The editors by field, made now if the form was never shown; those folded away come with `more`."""
        self._make()
        return self._editors

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with what is shown, by field, in a sentence each."""
        return {name: str(error) for name, error in self.errors.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that the form shows, folded away or not."""
        return tuple(self._fields)

    @property
    def more(self) -> Collapsible | None:
        """What the advanced fields are folded away in; None when there are none."""
        self._make()
        return self._more

    def editor(self, name: str) -> Editor:
        """Return the editor of a field, made now if it is folded away."""
        if name not in self.editors and self.more is not None:
            self.more.fill()
        return self.editors[name]

    def values(self) -> dict[str, Any]:
        """Return the values that differ from the model's defaults; they are valid while `problems` is empty."""
        shown, _ = self._read()
        return {name: value for name, value in shown.items() if value != self._fields[name].default}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show other values; what is no field of the form is passed over."""
        for name, value in values.items():
            if name in self._editors:
                self._editors[name].set_value(value)
            elif name in self._fields:
                self._asked[name] = value
        self._check()

    def restore_defaults(self) -> None:
        """Show the model's defaults."""
        self.set_values({name: field.default for name, field in self._fields.items()})

    def _make(self) -> None:
        if self._made:
            return
        self._made = True
        advanced = [field for field in self._fields.values() if field.level is FieldLevel.ADVANCED]
        rows = self._fill(self, [field for field in self._fields.values() if field not in advanced])
        if advanced:
            self._more = Collapsible(self._more_title, lambda: self._folded(advanced))
            rows.addRow(self._more)

    def _folded(self, fields: Sequence[SettingsField]) -> QWidget:
        content = QWidget()
        self._fill(content, fields)
        return content

    def _fill(self, widget: QWidget, fields: Sequence[SettingsField]) -> QFormLayout:
        """Lay out the editors of some fields in a widget, and return the rows."""
        rows = QFormLayout(widget)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for field in fields:
            editor = self._editors[field.name] = editor_for(field)
            if field.name in self._asked:
                editor.set_value(self._asked.pop(field.name))
            if isinstance(editor, ModelEditor):
                rows.addRow(editor.widget)
            else:
                rows.addRow(QLabel(editor.title), editor.widget)
            editor.on_change(self._check)
        self._mark()
        return rows

    def _read(self) -> tuple[dict[str, Any], dict[str, SettingsError]]:
        """Return what is shown, and by field what cannot be read."""
        values, unread = dict(self._asked), {}
        for name, editor in self._editors.items():
            try:
                values[name] = editor.value()
            except SettingsError as error:
                unread[name] = error
        return values, unread

    def _check(self) -> None:
        values, unread = self._read()
        broken = problems_of(self._model, values)
        self.errors = {name: error for name, error in broken.items() if name in values} | unread
        self._mark()
        self.changed.emit()

    def _mark(self) -> None:
        for name, editor in self._editors.items():
            editor.mark(self.problems.get(name, ""))


class ModelEditor(Editor):
    """The form of settings within settings, folded; a check box says whether optional ones are meant at all."""

    def _make(self, field: SettingsField) -> QWidget:
        assert field.type.model is not None
        self._model: type[BaseModel] = field.type.model
        self.form = SettingsForm(self._model)
        self._said = QCheckBox("Say it here")
        self._said.setVisible(field.type.optional)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(12, 0, 0, 0)
        column.addWidget(self._said)
        column.addWidget(self.form)
        self._said.toggled.connect(self.form.setVisible)
        return Collapsible(field.title, content)

    def value(self) -> Any:
        """Return the settings; None where optional ones are not meant.

        Raises
        ------
        SettingsError
            When one of them breaks its rule.
        """
        if self.type.optional and not self._said.isChecked():
            return None
        for error in self.form.errors.values():
            raise SettingsError(f"{self.name}.{error.field}", error.value, error.rule, error.remedy)
        return self._model.model_validate({**self._unseen, **self.form.values()})

    def set_value(self, value: Any) -> None:
        """Show settings."""
        self._said.setChecked(value is not None)
        self.form.setVisible(value is not None or not self.type.optional)
        self._unseen = {}
        if value is None:
            self.form.restore_defaults()
        else:
            whole = {name: getattr(value, name) for name in type(value).model_fields}
            self.form.set_values(whole)
            self._unseen = {name: whole[name] for name in whole if name not in self.form.names}

    def on_change(self, slot: Callable[[], object]) -> None:
        """Call `slot()` when one of the settings is another one, or whether they are meant."""
        self.form.changed.connect(slot)
        self._said.toggled.connect(lambda _: slot())


def editor_for(field: SettingsField) -> Editor:
    """Return the editor that fits the type of a field."""
    kind, parts = field.type.kind, field.type.parts
    if kind is FieldKind.CHOICE or (kind is FieldKind.YES_NO and field.type.optional):
        return ChoiceEditor(field)
    if kind is FieldKind.LIST and not field.type.optional and parts and parts[0].kind is FieldKind.CHOICE:
        return ChoicesEditor(field)
    return _EDITORS.get(kind, YamlEditor)(field)


_EDITORS: Mapping[FieldKind, type[Editor]] = {
    FieldKind.YES_NO: YesNoEditor,
    FieldKind.INTEGER: NumberEditor,
    FieldKind.NUMBER: NumberEditor,
    FieldKind.TEXT: TextEditor,
    FieldKind.PATH: PathEditor,
    FieldKind.MODEL: ModelEditor,
}
