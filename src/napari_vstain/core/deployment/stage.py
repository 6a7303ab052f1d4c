"""Stage 5: a run becomes one ONNX file, checked against it, with a model card; a failed one leaves nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from napari_vstain.core.data import open_dataset
from napari_vstain.core.deployment.agreement import Difference, Sample, check, compare, generated_samples, real_sample
from napari_vstain.core.deployment.card import model_card
from napari_vstain.core.deployment.settings import ExportSettings
from napari_vstain.core.errors import VstainError
from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.core.files import atomically, write_text
from napari_vstain.core.models import ModelSpec
from napari_vstain.core.models.split import Split
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace, checked_name

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    onnx: Path
    readme: Path
    config: Path
    max_abs_error_rel: float
    """Largest difference of all that was compared; see `Difference.relative`."""
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    run: Run
    """Whose model it is."""


def run(settings: ExportSettings, workspace: Workspace, progress: Progress) -> ExportResult:
    """Write ``deployment/<experiment>/<name>.onnx``, ``<name>.README`` and ``<name>.yml``, which exports it again.

    Tracing a network cannot be interrupted: where Stop must be prompt, run this in a child process.

    Raises
    ------
    Cancelled
        When it was stopped; nothing was written.
    ModelError
        When the network cannot be exported, or the file computes something else; nothing was written.
    StorageError
        When the folder takes no data.
    WorkspaceError
        When the experiment has no such run, or the name cannot be a file's.
    """
    from napari_vstain.core.models.files.checkpoint import load_checkpoint
    from napari_vstain.core.models.files.onnx_file import export_onnx

    experiment = workspace.experiment(settings.experiment)
    chosen = experiment.run(settings.run)
    name = checked_name("model name", settings.name or f"{experiment.name}_{chosen.name}")
    onnx = experiment.deployment / f"{name}.onnx"
    readme, config = experiment.deployment / f"{name}.README", experiment.deployment / f"{name}.yml"
    progress.phase("Loading the model")
    spec, network = load_checkpoint(chosen.checkpoint)
    trained_on = spec.training.dataset
    resolved = {"run": chosen.name, "name": name, "dataset": settings.dataset or trained_on}
    settings = settings.model_copy(update=resolved)
    samples, warnings = _samples(spec, settings, workspace)
    with atomically(onnx) as temporary:
        progress.phase("Exporting")
        export_onnx(network, spec, temporary, opset=settings.opset)
        differences = tuple(_checked(temporary, network, samples, spec, progress))
        card = model_card(
            spec, onnx.name, differences, _metrics(experiment, chosen, spec), settings.licence, _versions()
        )
        progress.check()
        write_text(readme, card)  # before the file takes its name: one that is there has its card and its settings
        settings.save(config)
    worst = max(one.relative for one in differences)
    return ExportResult(onnx, readme, config, worst, differences, tuple(warnings), chosen)


def _checked(
    path: Path, network: "nn.Module", samples: list[Sample], spec: ModelSpec, progress: Progress
) -> Iterator[Difference]:
    progress.phase("Comparing with the network", len(samples), "images")
    for sample in samples:
        difference = compare(path, network, sample, spec)
        check(difference)
        yield difference
        progress.advance()


def _samples(spec: ModelSpec, settings: ExportSettings, workspace: Workspace) -> tuple[list[Sample], list[str]]:
    """Return what to compare on, and why there are no real pixels among it if there are none."""
    samples = list(generated_samples(spec))
    try:
        dataset = open_dataset(workspace.find_dataset(settings.dataset), workspace)
        own = settings.dataset == spec.training.dataset
        split = spec.training.positions if own else Split(tuple(dataset.positions))
        return [*samples, real_sample(spec, dataset, split)], []
    except VstainError as error:
        return samples, [f"The file was compared on generated pixels only. {error}"]


def _metrics(experiment: Experiment, run: Run, spec: ModelSpec) -> "pd.DataFrame | None":
    from napari_vstain.core.evaluation import read_table

    if not experiment.metrics.is_file():
        return None
    table = read_table(experiment.metrics)
    return table[(table["run"] == run.name) & (table["model"] == spec.fingerprint) & (table["level"] == "volume")]


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime

    return {"napari-vstain": version("napari-vstain"), "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
