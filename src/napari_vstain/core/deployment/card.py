"""The model card: what a model predicts and from what, how to apply it exactly, and how good it was found to be."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from napari_vstain.core.deployment.agreement import LIMIT, Difference
from napari_vstain.core.deployment.example import example
from napari_vstain.core.models import Dimensions, ModelSpec, OutputKind

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {
    Dimensions.TWO: "2D: each slice on its own; the input `source` is float32 (B, C, Y, X)",
    Dimensions.WINDOW: "2.5D: {window} slices at once, sliding; the input `source` is float32 (B, C, {window}, Y, X)",
    Dimensions.THREE: "3D: all slices at once; the input `source` is float32 (B, C, Z, Y, X)",
}


def model_card(
    spec: ModelSpec,
    file: str,
    differences: Sequence[Difference],
    metrics: "pd.DataFrame | None",
    licence: str,
    versions: Mapping[str, str],
) -> str:
    """Return the card, in Markdown.

    Parameters
    ----------
    file : str
        Name of the ONNX file that it stands beside.
    metrics : DataFrame, optional
        Rows of this model and of the trivial baseline, as in metrics.csv.
    """
    sections = {
        "What it predicts": _outputs(spec),
        "What it takes": _inputs(spec),
        "Normalization": _normalization(spec),
        "Tiling": _tiling(spec),
        "Use": f"With numpy and ONNX Runtime:\n\n```python\n{example(spec, file).strip()}\n```\n\n{_ELSEWHERE}",
        "Training": _training(spec),
        "Metrics": _metrics(metrics),
        "Check": _check(differences),
        "Versions": _items({**spec.versions, **versions}),
        "Licence": licence or "Not stated. Ask whoever trained the model before you pass it on.",
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    name = spec.name or file.removesuffix(".onnx")
    return (
        f"# {file.removesuffix('.onnx')}\n\nVirtual staining model {name}, fingerprint {spec.fingerprint}.\n\n{body}\n"
    )


def _outputs(spec: ModelSpec) -> str:
    lines = []
    for output in spec.outputs:
        unit = "in the intensity units of its training data" if output.kind is OutputKind.FLUORESCENCE else output.kind
        scale = "" if output.scale == (1, 1, 1) else f"; {output.scale} output pixels per input pixel (Z, Y, X)"
        lines.append(f"- output `{output.task}`, float32: {', '.join(output.channels)}, {unit}{scale}")
    return "\n".join(lines)


def _inputs(spec: ModelSpec) -> str:
    spacing = "not known" if spec.spacing_um is None else f"{_spacing(spec.spacing_um)} µm (Z, Y, X)"
    return (
        f"- channels, in this order: {', '.join(spec.sources)}, as they come from the microscope\n"
        f"- {_KINDS[spec.dimensions].format(window=spec.z_window)}\n"
        f"- voxel size of the training data: {spacing}; images of another size should be resampled to it"
    )


def _normalization(spec: ModelSpec) -> str:
    used = spec.source_normalization
    formula = f"`(x - {used.subtract}) / ({used.divide} + min(1e-8, {used.divide} / 100))`"
    if used.level == "dataset":
        how = (
            f"The file does it: raw intensities go in, and {formula} with the training data's numbers is its first "
            "step. To use other numbers give the inputs `source_offset` and `source_divisor`, float32 of shape (C,)."
        )
    else:
        whose = {"fov": "whole image", "timepoint": "whole time point"}[used.level]
        how = (
            f"The file applies {formula} with numbers that you must give, as `source_offset` and `source_divisor`, "
            f"float32 of shape (C,): those of the {whose} that is predicted, never of a tile."
        )
    rows = [f"| {name} | {_pair(spec.source_offset_and_divisor(name))} |" for name in spec.sources]
    rows += [
        f"| {name} | {_pair(spec.target_offset_and_divisor(name))} |"
        for output in spec.outputs
        if output.kind is OutputKind.FLUORESCENCE
        for name in output.channels
    ]
    table = "\n".join(["| channel | offset in training | divisor in training |", "| --- | --- | --- |", *rows])
    back = "Outputs are brought back into the target's units by the file."
    if spec.target_normalization.level != "dataset":
        whose = {"fov": "position", "timepoint": "time point"}[spec.target_normalization.level]
        back += (
            f" In training each {whose} was normalized by itself, so the units are the typical one's: offset and "
            f"divisor are medians over the training {whose}s. How bright the stain of one image is, is not predicted."
        )
    return f"{how}\n\n{back}\n\n{table}"


def _tiling(spec: ModelSpec) -> str:
    _, y, x = spec.stride
    text = (
        f"Sizes along Y and X must be multiples of the total stride, {y} and {x} px. Every output pixel looks no "
        f"further than {spec.halo[1]} px along Y and {spec.halo[2]} px along X"
        + (f", and {spec.halo[0]} slices along Z" if spec.halo[0] else "")
        + ". So a large image is predicted exactly in tiles: reflect it once beyond its borders by that halo, let "
        "every tile begin on the stride grid, read its halo on all sides, and keep only what it owns."
    )
    if spec.tile_exact:
        return text
    return (
        "This network looks across the whole image: no halo is exact, and a prediction in tiles differs from the one "
        f"of the whole image. Predict the image at once where it fits. {text}"
    )


def _training(spec: ModelSpec) -> str:
    known = spec.training.model_dump(exclude={"positions"}, exclude_defaults=True)
    lines = [f"- {key.replace('_', ' ')}: {_short(value)}" for key, value in known.items()]
    split = spec.training.positions
    parts = {"trained on": split.train, "validated on": split.validate, "kept for the test": split.test}
    lines += [f"- {text} {len(keys)}: {_short(keys)}" for text, keys in parts.items() if keys]
    lines += [f"- careful: {caution}" for caution in split.cautions]
    return "\n".join(lines) or "Nothing is recorded."


def _metrics(metrics: "pd.DataFrame | None") -> str:
    from napari_vstain.core.evaluation import METRICS, headlines, summarize

    if metrics is None or metrics.empty:
        return "The model has not been evaluated: run `vstain evaluate`."
    columns = ["dataset", "positions", "channel", "mask", "predictor", *METRICS]
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    lines += [
        f"| {one.dataset} | {one.of} | {one.channel} | {one.mask} | {one.predictor} | "
        f"{' | '.join(f'{one.metrics[name]:.4g}' for name in METRICS)} |"
        for one in summarize(metrics)
    ]
    said = "\n".join(f"- {one.means.dataset}, {one}" for one in headlines(metrics))
    return (
        f"{said}\n\nMeans over positions, of whole volumes; positions of the training, validation and test are never "
        "averaged together. The baseline is least squares from the sources and their local standard deviations: what "
        "a model must beat. metrics.README says what the columns mean.\n\n" + "\n".join(lines)
    )


def _check(differences: Sequence[Difference]) -> str:
    lines = [f"- {one.name}: {one.relative:.1e}" for one in differences]
    return (
        "Largest absolute difference between this file in ONNX Runtime and the trained network in torch, both float32 "
        f"on a CPU, beyond the last digit of float32, over the output's standard deviation (at most {LIMIT:g}):\n\n"
        + "\n".join(lines)
    )


def _items(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key} {value}" for key, value in values.items())


def _pair(values: tuple[float, float]) -> str:
    return f"{values[0]:.6g} | {values[1]:.6g}"


def _short(value: Any, most: int = 8) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        listed = ", ".join(map(str, value[:most]))
        return listed if len(value) <= most else f"{listed} and {len(value) - most} more"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _spacing(spacing_um: tuple[float | None, float, float]) -> str:
    return " x ".join("?" if size is None else f"{size:g}" for size in spacing_um)


_ELSEWHERE = """\
In napari: Plugins > Virtual Staining > Predict, and choose this file. On the command line: `vstain predict --model`
with its path."""
