"""Stage 3: predict positions of a dataset into ``predictions.zarr``; what is finished is never computed again."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_vstain.core.data import Dataset, Position, open_dataset
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.core.inference.batch import SHARED_TILE_PX, Batch, Outcome, Runner, predict_batch
from napari_vstain.core.inference.cells import Area
from napari_vstain.core.inference.ometiff import save_tiffs
from napari_vstain.core.inference.predictor import Predictor, load_predictor
from napari_vstain.core.inference.settings import PredictSettings
from napari_vstain.core.inference.store import PredictionStore, Recipe, predicted_datasets
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.stages import config_path
from napari_vstain.core.workspace import Workspace


@dataclass(frozen=True)
class PredictResult:
    """What was predicted."""

    store: Path
    config: Path
    positions: tuple[str, ...]
    """Those that are complete as far as they were asked for."""
    warnings: tuple[str, ...]
    engine: str
    """What ran the network, for people."""
    megapixels: float
    """What was computed now, of the input's pixels."""
    tiffs: tuple[Path, ...] = ()


def run(
    settings: PredictSettings, workspace: Workspace, progress: Progress, *, predictor: Predictor | None = None
) -> PredictResult:
    """Predict the positions, and save the settings as ``predict_config.yml`` beside the store.

    Parameters
    ----------
    predictor : Predictor, optional
        The model, when it is loaded already.

    Raises
    ------
    Cancelled
        When it was stopped; `kept` is the result so far, and the same command goes on.
    ChannelError, DatasetError, ModelError, SettingsError, WorkspaceError
        When something that is named is not there, or does not fit the model.
    StorageError
        When the disk is full; what was finished is kept, and the same command goes on.
    """
    _checked(settings)
    progress.phase("Loading the model")
    dataset = open_dataset(workspace.find_dataset(settings.dataset), workspace)
    keys = settings.positions or tuple(dataset.positions)
    predictor = predictor or _predictor(settings, workspace, progress)
    channels = _channels(dataset, keys, predictor, settings.sources)
    if settings.resample:
        predictor = _resampled(predictor, [dataset.position(key) for key in keys])
    path = _output(settings, workspace, predictor, dataset)
    store = PredictionStore(
        path, predictor, _recipe(settings, predictor, channels, workspace.name_of(dataset.path)), settings.existing
    )
    config = config_path(path.parent, "predict")
    settings.save(config)
    batch = Batch(
        predictor,
        store,
        [dataset.position(key) for key in keys],
        channels,
        _area(settings),
        settings.existing,
        settings.tile_px or (SHARED_TILE_PX if settings.scheduler else None),
        settings.z_step,
    )
    outcome = Outcome()
    try:
        predict_batch(batch, outcome, progress, _runner(settings))
        tiffs = save_tiffs(path, outcome.positions, progress) if settings.ome_tiff else ()
    except Cancelled as stopped:
        raise Cancelled(kept=_result(batch, outcome, config)) from stopped
    return _result(batch, outcome, config, tiffs)


def _predictor(settings: PredictSettings, workspace: Workspace, progress: Progress) -> Predictor:
    path = settings.model or workspace.experiment(settings.experiment).run(settings.run).checkpoint
    return load_predictor(
        path,
        augment=settings.augment,
        elsewhere=settings.elsewhere,
        token=progress.token,
        engine=settings.engine,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )


def _resampled(predictor: Predictor, positions: Sequence[Position]) -> Predictor:
    """Return the predictor for the positions' voxel size, which they must share."""
    from napari_vstain.core.inference.resampling import ResampledPredictor, factors_of

    sizes = {position.spacing_um: position.key for position in positions}
    if len(sizes) > 1:
        rule = f"needs one voxel size, and positions {' and '.join(list(sizes.values())[:2])} differ"
        raise SettingsError("resample", True, rule, "predict them one by one, each into its own output")
    factors = factors_of(predictor.model, next(iter(sizes), None))
    return predictor if factors == (1, 1) else ResampledPredictor(predictor, factors)


def _checked(settings: PredictSettings) -> None:
    if settings.model is None and not settings.experiment:
        raise SettingsError("experiment", None, "is needed when no model is given", "name an experiment or a model")


def _output(settings: PredictSettings, workspace: Workspace, predictor: Predictor, dataset: Dataset) -> Path:
    """Return the store: of the experiment, of a run of it that was named, or of a model that belongs to none."""
    if settings.output is not None:
        return settings.output.expanduser()
    experiment, run = _home(settings, workspace)
    plain = experiment.predictions(run)
    owner = predictor.spec.training.get("dataset") or next(iter(predicted_datasets(plain)), dataset.name)
    return plain if Path(owner).name in (dataset.name, dataset.path.name) else experiment.predictions(run, dataset.name)


def _home(settings: PredictSettings, workspace: Workspace) -> tuple[Experiment, Run | None]:
    """Return the experiment and the run, when it was named, whose predictions these are."""
    if settings.experiment:
        experiment = workspace.experiment(settings.experiment)
        return experiment, experiment.run(settings.run) if settings.run else None
    assert settings.model is not None
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", settings.model.stem).lstrip("_.-") or "model"
    return workspace.experiment(name), None


def _channels(
    dataset: Dataset, keys: Sequence[str], predictor: Predictor, sources: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the dataset's source channels, once every position was asked for them."""
    unknown = [name for name in sources if name not in predictor.spec.sources]
    if unknown:
        rule = f"is no source of the model, which takes {', '.join(predictor.spec.sources)}"
        raise SettingsError("sources", unknown[0], rule, "name one of these")
    channels = tuple(sources.get(name, name) for name in predictor.spec.sources)
    for key in keys:
        for channel in channels:
            dataset.position(key).channel_index(channel)
    return channels


def _area(settings: PredictSettings) -> Area:
    top, left, bottom, right = settings.region or (None, None, None, None)
    times, slices = (slice(*part) if part else slice(None) for part in (settings.times, settings.slices))
    return Area(times, slices, slice(top, bottom), slice(left, right))


def _recipe(settings: PredictSettings, predictor: Predictor, channels: Sequence[str], known_as: str) -> Recipe:
    details: dict[str, Any] = {
        "dataset": known_as,
        "sources": list(channels),
        "augment": str(predictor.augment),
        "precision": predictor.engine.precision,
        "z_step": settings.z_step,
    }
    if (factors := getattr(predictor, "factors", None)) is not None:
        details["resampled"] = list(factors)
    return Recipe(settings.model_dump(mode="json"), predictor.model.fingerprint, details)


def _runner(settings: PredictSettings) -> Runner | None:
    if not settings.scheduler:
        return None
    from napari_vstain.core.inference.cluster import Cluster

    return Cluster(settings.scheduler)


def _result(batch: Batch, outcome: Outcome, config: Path, tiffs: Sequence[Path] = ()) -> PredictResult:
    engine = batch.predictor.engine
    return PredictResult(
        batch.store.path,
        config,
        tuple(outcome.positions),
        tuple(outcome.warnings),
        f"{engine.name} on {engine.device}, {engine.precision}",
        outcome.megapixels,
        tuple(tiffs),
    )
