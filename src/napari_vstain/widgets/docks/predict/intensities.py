"""Fields for how a third-party model's images are normalized, how it is brought back into units, and its voxel size."""

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QFormLayout, QLineEdit, QWidget

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.models.files.model_notes import ModelNotes, fixed_numbers
from napari_vstain.core.models.spec import Normalization, Statistics
from napari_vstain.widgets.kit.forms import SettingsForm
from napari_vstain.widgets.kit.style import shrinkable

_INPUTS = (
    ("taken as they are", None),
    ("normalized, each by itself", "fov"),
    ("normalized, timepoint by timepoint", "timepoint"),
    ("normalized by numbers", "dataset"),
)
_OUTPUTS = (("taken as they are", None), ("brought back by numbers", "dataset"))
_BY_NUMBERS = Normalization(level="dataset", subtract="mean", divide="std")


class IntensitiesForm(QWidget):
    """What may be said of an ONNX file besides its channels; nothing need be."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.input, self.output = _combo(_INPUTS), _combo(_OUTPUTS)
        self.statistics = SettingsForm(Normalization, ("subtract", "divide"))
        self.subtract, self.divide = _numbers_field("Subtract", "1000"), _numbers_field("Divide by", "300")
        self.multiply, self.add = _numbers_field("Multiply by", "300"), _numbers_field("Add", "1000")
        self.pixel, self.slice = _length(), _length()
        self._arrange()
        for combo in (self.input, self.output):
            combo.currentIndexChanged.connect(self._settle)
        for field in (self.subtract, self.divide, self.multiply, self.add):
            field.textChanged.connect(self.changed)
        for box in (self.pixel, self.slice):
            box.valueChanged.connect(self.changed)
        self._settle()

    def said(self, sources: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
        """Return fields of `ModelNotes`.

        Raises
        ------
        SettingsError
            When numbers are missing, or not numbers, or not one for all channels or one for each.
        """
        statistics: dict[str, Statistics] = {}
        if self.input.currentData() == "dataset":
            statistics |= fixed_numbers(sources, _numbers(self.subtract), _numbers(self.divide))
        if self.output.currentData() == "dataset":
            statistics |= fixed_numbers(targets, _numbers(self.add), _numbers(self.multiply))
        return {
            "source_normalization": self._source_normalization(),
            "target_normalization": _BY_NUMBERS if self.output.currentData() else None,
            "statistics": statistics,
            "spacing_um": self._spacing_um(),
        }

    def show_said(self, known: ModelNotes) -> None:
        """Show what was said before."""
        source, target = known.source_normalization, known.target_normalization
        self.input.setCurrentIndex(_place(_INPUTS, source.level if source else None))
        self.output.setCurrentIndex(_place(_OUTPUTS, "dataset" if target else None))
        if source is not None and source.level != "dataset":
            self.statistics.set_values(source.model_dump())
        for field, name, channels in (
            (self.subtract, "mean", known.sources),
            (self.divide, "std", known.sources),
            (self.add, "mean", known.targets),
            (self.multiply, "std", known.targets),
        ):
            field.setText(_text(known, name, channels))
        z, y, _ = known.spacing_um or (None, None, None)
        self.pixel.setValue(y or 0)
        self.slice.setValue(z or 0)

    def any_said(self) -> bool:
        """Return True if something differs from saying nothing."""
        return bool(self.input.currentData() or self.output.currentData() or self.pixel.value())

    def _source_normalization(self) -> Normalization | None:
        level = self.input.currentData()
        if level in (None, "dataset"):
            return _BY_NUMBERS if level else None
        return Normalization(level=level, **self.statistics.values())

    def _spacing_um(self) -> tuple[float | None, float, float] | None:
        across = self.pixel.value()
        return (self.slice.value() or None, across, across) if across else None

    def _settle(self, *_: object) -> None:
        """Show the fields that the choices need."""
        level, back = self.input.currentData(), self.output.currentData() is not None
        self._rows.setRowVisible(self.statistics, level in ("fov", "timepoint"))
        for field, shown in (
            (self.subtract, level == "dataset"),
            (self.divide, level == "dataset"),
            (self.multiply, back),
            (self.add, back),
        ):
            self._rows.setRowVisible(field, shown)
        self.changed.emit()

    def _arrange(self) -> None:
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._rows.addRow("Images are", self.input)
        self._rows.addRow(self.statistics)
        for field in (self.subtract, self.divide):
            self._rows.addRow(field.accessibleName(), field)
        self._rows.addRow("Outputs are", self.output)
        for field in (self.multiply, self.add):
            self._rows.addRow(field.accessibleName(), field)
        self._rows.addRow("Pixel size", self.pixel)
        self._rows.addRow("Slice spacing", self.slice)


def _combo(choices: Sequence[tuple[str, str | None]]) -> QComboBox:
    combo: QComboBox = shrinkable(QComboBox())
    for text, value in choices:
        combo.addItem(text, value)
    return combo


def _place(choices: Sequence[tuple[str, str | None]], value: str | None) -> int:
    return [known for _, known in choices].index(value)


def _numbers_field(name: str, example: str) -> QLineEdit:
    field: QLineEdit = shrinkable(QLineEdit())
    field.setAccessibleName(name)
    field.setPlaceholderText(example)
    field.setToolTip("One number for all channels, or one for each with commas between them, in the images' units.")
    return field


def _length() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(4)
    box.setSingleStep(0.01)
    box.setSuffix(" µm")
    box.setSpecialValueText("not known")
    box.setToolTip("Of the images that the model was trained on.")
    return box


def _numbers(field: QLineEdit) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in field.text().split(","))
    except ValueError:
        rule, remedy = "is not a number", "write numbers with a point, and commas between them"
        raise SettingsError(field.accessibleName(), field.text(), rule, remedy) from None


def _text(known: ModelNotes, name: str, channels: Sequence[str]) -> str:
    found = [known.statistics[channel] for channel in channels if channel in known.statistics]
    return ", ".join(f"{getattr(statistics, name):.12g}" for statistics in found)
