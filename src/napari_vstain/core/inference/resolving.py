"""What a prediction's settings leave open is decided before it begins, and saved: they predict the same again."""

import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_vstain.core.data import Dataset, Position
from napari_vstain.core.data.predicted import datasets_of, is_begun, open_predictions, record_of, shared_at
from napari_vstain.core.engines.base import Engine, EngineName, Precision
from napari_vstain.core.engines.devices import cpu_threads
from napari_vstain.core.errors import DatasetError, SettingsError, WorkspaceError
from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.core.files import reading
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.recipe import Existing
from napari_vstain.core.inference.settings import PredictSettings
from napari_vstain.core.locks import locked
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.workspace import Workspace

_PACKAGES = ("napari-vstain", "numpy", "zarr", "torch", "onnxruntime", "onnxruntime-gpu", "openvino")


def resolved_settings(
    settings: PredictSettings,
    workspace: Workspace,
    dataset: Dataset,
    keys: Sequence[str],
    predictor: Predictor,
    channels: Sequence[str],
) -> PredictSettings:
    """Return the settings with a value for all that depends on what is on disk, and on this computer.

    A replay goes on with what is there: whoever wants it overwritten says so again.
    """
    engine = predictor.engine
    values: dict[str, Any] = {
        "dataset": workspace.name_of(dataset.path),
        "positions": tuple(keys),
        "sources": dict(zip(predictor.spec.sources, channels, strict=True)),
        "engine": EngineName(engine.name),
        "device": _device(engine, settings.device),
        "precision": Precision(engine.precision),
        "threads": cpu_threads(settings.threads),
        "pixels_at_once": predictor.runner.network_pixels,
        "output": settings.output and settings.output.expanduser().absolute(),
        "init": False,
    }
    if settings.model is not None:
        values["model"] = settings.model.expanduser().absolute()
    elif settings.experiment:
        values["run"] = _named(workspace.experiment(settings.experiment), settings.run)
    values["model_info"] = settings.model_info.absolute()
    return settings.model_copy(update={name: value for name, value in values.items() if value is not None})


def save_settings(settings: PredictSettings, path: Path, order: Sequence[str]) -> None:
    """Save settings beside their store, as those of all positions that were predicted into it in this way.

    Parameters
    ----------
    order : sequence of str
        The dataset's positions.
    """
    settings = settings.model_copy(update={"existing": Existing.RESUME})
    with locked(path):
        before = _saved(path)
        if before is not None and _alike(before, settings):
            keys = {*before.positions, *settings.positions}
            known = [key for key in order if key in keys]
            settings = settings.model_copy(update={"positions": (*known, *sorted(keys.difference(known)))})
        settings.save(path)


def output_of(settings: PredictSettings, workspace: Workspace, model: ModelSpec, dataset: Dataset) -> Path:
    """Return the store of an experiment, of a run of it, or of a model that belongs to none.

    ``predictions.zarr`` is of the run that was the newest when it was made, and stays so, also for settings that were
    saved and name it: a later run has its own store, as an earlier one that is named has, unless told to overwrite.
    """
    if settings.output is not None:
        return settings.output.expanduser()
    experiment = _home(settings, workspace)
    other = dataset.name if _is_another(model, dataset, experiment, workspace) else ""
    plain = experiment.predictions(None, other)
    run = _run(experiment, settings)
    if run is None or plain.suffix != ".zarr":
        return plain
    own = experiment.predictions(run, other)
    if settings.run:
        made_by = _made_by(plain)
        ours = made_by == {model.fingerprint} or (not made_by and experiment.run().name == run.name)
        return plain if ours and not own.exists() else own
    taken = settings.existing is Existing.RESUME and _made_by(plain) - {model.fingerprint}
    return own if taken else plain


def config_beside(store: Path) -> Path:
    """Return where the settings of a store are saved: ``predictions.yml`` of ``predictions.zarr``."""
    return store.with_name(f"{store.name.removesuffix('.zarr')}.yml")


def computed_before(settings: PredictSettings, path: Path, model: ModelSpec) -> Mapping[str, str]:
    """Return the engine, device and precision that a store was computed with, as far as the settings leave them open.

    Several processes that fill one store so compute alike, however busy each finds the machine.
    """
    shared = shared_at(path)
    said = shared.get("computed_by")
    if settings.existing is Existing.OVERWRITE or shared.get("fingerprint") != model.fingerprint:
        return {}
    if settings.engine is not EngineName.AUTO or not isinstance(said, Mapping):
        return {}
    left_open = {"engine"}
    left_open |= {"device"} if settings.device == "auto" else set()
    left_open |= {"precision"} if settings.precision is Precision.AUTO else set()
    return {name: str(said[name]) for name in left_open if said.get(name)}


def pixels_before(path: Path) -> int | None:
    """Return how many pixels the tiles of a store were computed from at once, so that its tiles stay the same."""
    pixels = shared_at(path).get("pixels_at_once")
    return int(pixels) if isinstance(pixels, int) else None


def computed_by(engine: Engine, threads: int | None) -> dict[str, Any]:
    """Return what computes a prediction: engine, device, precision, threads, versions, and the date."""
    return {
        "engine": engine.name,
        "device": _device(engine, "auto"),
        "hardware": engine.device,
        "precision": engine.precision,
        "threads": threads,
        "versions": {"python": platform.python_version(), **_versions()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_area(settings: PredictSettings, position: Position) -> None:
    """Refuse a region, slices or times that a position does not have.

    Raises
    ------
    SettingsError
        Naming the sizes that the position has.
    """
    times, _, slices, height, width = position.shape
    asked = {"times": (settings.times, times, "time points"), "slices": (settings.slices, slices, "slices")}
    if settings.region is not None:
        *_, bottom, right = settings.region
        if bottom > height or right > width:
            rule = f"reaches beyond {position.key}, which is {height} px high and {width} px wide"
            raise SettingsError("region", settings.region, rule, "choose a part that is in the image")
    for name, (part, count, unit) in asked.items():
        if part is not None and part[1] > count:
            one = unit.removesuffix("s") if count == 1 else unit
            rule = f"reaches beyond {position.key}, which has {count} {one}"
            raise SettingsError(name, part, rule, "choose a part that is in the image; counting begins at 0")


def _home(settings: PredictSettings, workspace: Workspace) -> Experiment:
    if settings.experiment:
        return workspace.experiment(settings.experiment)
    assert settings.model is not None
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", settings.model.stem).lstrip("_.-") or "model"
    return workspace.experiment(name)


def _is_another(model: ModelSpec, dataset: Dataset, experiment: Experiment, workspace: Workspace) -> bool:
    """Return True if a dataset is another than the experiment's own, whose stores bear no name of a dataset."""
    owner = model.training.dataset or str(next(iter(_datasets(experiment.predictions())), dataset.name))
    with suppress(WorkspaceError):
        if workspace.find_dataset(owner).resolve() == dataset.path.resolve():
            return False
    return Path(owner).name.removesuffix(".zarr") not in (dataset.name, dataset.path.name)


def _run(experiment: Experiment, settings: PredictSettings) -> Run | None:
    """Return the run whose predictions these are; None for a model file, which is no run."""
    if settings.model is not None or not experiment.runs():
        return None
    return experiment.run(settings.run)


def _named(experiment: Experiment, run: str) -> str | None:
    return experiment.run(run).name if experiment.runs() else None


def _made_by(path: Path) -> set[str]:
    """Return the fingerprints of the models that predicted what is in a store."""
    try:
        store = open_predictions(path)
    except DatasetError:
        return set()
    said = (record_of(position) for position in store.positions.values())
    return {str(one.get("fingerprint")) for one in said if is_begun(one)}


def _datasets(path: Path) -> set[str]:
    try:
        return datasets_of(open_predictions(path))
    except DatasetError:
        return set()


def _device(engine: Engine, asked: str) -> str:
    """Return a device that the settings take from what an engine says of its own for people."""
    if asked != "auto":
        return asked
    label = engine.device.lower()
    return next((name for name in ("cpu", "mps") if name in label), "cuda")


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _saved(path: Path) -> PredictSettings | None:
    try:
        with reading("settings file", path):
            return PredictSettings.load(path)
    except (SettingsError, DatasetError):
        return None


def _alike(before: PredictSettings, now: PredictSettings) -> bool:
    """Return True if two settings differ at most in the positions, and in what decides no value."""
    plain = {"positions": (), "existing": Existing.RESUME, "threads": None, "ome_tiff": False, "scheduler": ""}
    return before.model_copy(update=plain) == now.model_copy(update=plain)
