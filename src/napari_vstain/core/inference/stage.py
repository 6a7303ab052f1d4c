"""Stage 3: predict positions of a dataset into ``predictions.zarr``; what is finished is never computed again."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari_vstain.core.data import Position, open_dataset
from napari_vstain.core.data.identity import token_in
from napari_vstain.core.errors import DatasetError, SettingsError, VstainError
from napari_vstain.core.files import write_text
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.recipe import Recipe
from napari_vstain.core.inference.resampling import SAME_SIZE, factors_of
from napari_vstain.core.inference.resolving import (
    check_area,
    computed_before,
    computed_by,
    config_beside,
    output_of,
    pixels_before,
    resolved_settings,
    save_settings,
)
from napari_vstain.core.inference.settings import PredictSettings
from napari_vstain.core.inference.to_disk.batch import (
    BatchRunner,
    Outcome,
    predict_batch,
    prepare,
)
from napari_vstain.core.inference.to_disk.forecast import Forecast, forecast
from napari_vstain.core.inference.to_disk.ometiff import save_tiffs
from napari_vstain.core.inference.to_disk.open_position import SHARED_TILE_PX, PredictionBatch, position_scaling
from napari_vstain.core.inference.to_disk.store import PredictionStore
from napari_vstain.core.left_out import LeftOut, check_left_out, leaving_out
from napari_vstain.core.models.files.model_file import ModelFile, open_model
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.tiling.tile_queue import Area
from napari_vstain.core.workspace import Workspace

_log = logging.getLogger(__name__)


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
    left_out: tuple[LeftOut, ...] = ()
    """Positions that could not be predicted."""
    forecasts: tuple[Forecast, ...] = ()
    """What each position will take, when only the store was made."""
    model: str = ""
    """What predicted: a run, ``experiment/version_0``, or what a model of none is called."""

    @property
    def listing(self) -> Path:
        """Where the positions are listed, one a line, when only the store was made."""
        return self.config.with_name(f"{self.config.stem}_positions.txt")


def run(
    settings: PredictSettings, workspace: Workspace, progress: Progress, *, predictor: Predictor | None = None
) -> PredictResult:
    """Predict the positions, and save the settings, each with its value, as ``<store>.yml`` beside the store.

    Parameters
    ----------
    predictor : Predictor, optional
        The model, when it is loaded already.

    Raises
    ------
    Cancelled
        When it was stopped; `kept` is the result so far, and the same command goes on.
    ChannelError, ModelError, SettingsError, WorkspaceError
        When something that is named is not there, or does not fit the model.
    DatasetError
        When no position can be predicted; with `strict`, when one cannot.
    StorageError
        When the disk is full; what was finished is kept, and the same command goes on.
    """
    _checked(settings)
    progress.phase("Loading the model")
    dataset = open_dataset(workspace.find_dataset(settings.dataset), workspace)
    positions, left_out = dataset.select(settings.positions)
    for position in positions:
        check_area(settings, position)
    given = predictor or open_model(_model(settings, workspace), settings.model_info)
    model = given.spec if isinstance(given, Predictor) else given.spec(progress.token)
    path = output_of(settings, workspace, model, dataset)
    before = computed_before(settings, path, model)
    predictor = given if isinstance(given, Predictor) else _predictor(settings, given, progress, before)
    channels = _channels(predictor, settings.sources)
    positions = _usable(positions, channels, predictor, _area(settings), left_out, progress)
    if settings.resample:
        predictor, positions = _resampled(predictor, positions, left_out)
    keys = tuple(position.key for position in positions)
    check_left_out(len(keys), left_out, settings.strict)
    if (pixels := settings.pixels_at_once or pixels_before(path)) is not None:
        predictor.runner.take_at_once(pixels)
    only_made, settings = settings.init, resolved_settings(settings, workspace, dataset, keys, predictor, channels)
    store = PredictionStore(
        path, predictor, _recipe(settings, predictor), settings.existing,
        settings.dataset, token_in(dataset.path), tuple(dataset.positions),
    )  # fmt: skip
    batch = PredictionBatch(
        predictor,
        store,
        positions,
        channels,
        _area(settings),
        settings.existing,
        settings.tile_px or (SHARED_TILE_PX if settings.scheduler else None),
        settings.z_step,
        settings.strict,
    )
    outcome = Outcome(left_out=left_out)
    config = config_beside(path)
    try:
        prepare(batch, progress)
        save_settings(settings, config, tuple(dataset.positions))
        if only_made:
            result = _result(batch, outcome, config, settings, forecasts=forecast(batch, progress))
            write_text(result.listing, "".join(f"{key}\n" for key in keys))
            return result
        predict_batch(batch, outcome, progress, _runner(settings))
        tiffs = save_tiffs(path, outcome.positions, progress) if settings.ome_tiff else ()
    except Cancelled as stopped:
        raise Cancelled(kept=_result(batch, outcome, config, settings)) from stopped
    check_left_out(len(outcome.positions), outcome.left_out, settings.strict)
    return _result(batch, outcome, config, settings, tiffs)


def _model(settings: PredictSettings, workspace: Workspace) -> Path:
    return settings.model or workspace.experiment(settings.experiment).run(settings.run).checkpoint


def _predictor(settings: PredictSettings, file: ModelFile, progress: Progress, before: Mapping[str, str]) -> Predictor:
    """Return the model, loaded; on the engine that computed `before` wherever the choice is left to us."""
    choice: dict[str, Any] = {"engine": settings.engine, "device": settings.device, "precision": settings.precision}
    load = partial(load_predictor, file, augment=settings.augment, token=progress.token, threads=settings.threads)
    if before:
        try:
            return load(**{**choice, **before})
        except VstainError as error:
            _log.info("what computed the store before cannot be used here (%s)", error)
    return load(**choice)


def _usable(
    positions: Sequence[Position],
    channels: Sequence[str],
    predictor: Predictor,
    area: Area,
    left_out: list[LeftOut],
    progress: Progress,
) -> list[Position]:
    """Return the positions that have the channels and can be normalized; the others are left out.

    Statistics that a position lacks are measured here and kept, so nothing is read twice for it.
    """
    progress.phase("Looking at the positions", len(positions), "positions")
    by_time = predictor.spec.source_normalization.level == "timepoint"
    for channel in channels:
        if positions and not any(channel in position.channels for position in positions):
            positions[0].channel_index(channel)  # of no position: a name that is wrong, and its error says so
    found = []
    for position in positions:
        progress.check()
        with leaving_out(position.key, left_out):
            for channel in channels:
                if channel not in position.channels:
                    raise DatasetError("position", position.key, f"has no {channel}", "name its source channels")
            for t in range(*area.t.indices(position.shape[0])) if by_time else (0,):
                position_scaling(predictor, position, channels, t)
            found.append(position)
        progress.advance()
    return found


def _resampled(
    predictor: Predictor, positions: Sequence[Position], left_out: list[LeftOut]
) -> tuple[Predictor, list[Position]]:
    """Return the predictor for the positions' voxel size, and those that have it: the size that most of them have."""
    sizes = Counter(position.spacing_um for position in positions)
    usual = sizes.most_common(1)[0][0] if sizes else None
    left_out += [
        LeftOut(position.key, f"has voxels of {position.spacing_um} µm, where most have {usual}")
        for position in positions
        if position.spacing_um != usual
    ]
    alike = [position for position in positions if position.spacing_um == usual]
    factors = factors_of(predictor.model, usual)
    return (predictor if factors == SAME_SIZE else predictor.resampled(factors)), alike


def _checked(settings: PredictSettings) -> None:
    if settings.model is None and not settings.experiment:
        raise SettingsError("experiment", None, "is needed when no model is given", "name an experiment or a model")


def _channels(predictor: Predictor, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Return the dataset's source channels, in the model's order."""
    unknown = [name for name in sources if name not in predictor.spec.sources]
    if unknown:
        rule = f"is no source of the model, which takes {', '.join(predictor.spec.sources)}"
        raise SettingsError("sources", unknown[0], rule, "name one of these")
    return tuple(sources.get(name, name) for name in predictor.spec.sources)


def _area(settings: PredictSettings) -> Area:
    top, left, bottom, right = settings.region or (None, None, None, None)
    times, slices = (slice(*part) if part else slice(None) for part in (settings.times, settings.slices))
    return Area(times, slices, slice(top, bottom), slice(left, right))


def _recipe(settings: PredictSettings, predictor: Predictor) -> Recipe:
    details: dict[str, Any] = {
        "dataset": settings.dataset,
        "sources": [settings.sources[name] for name in predictor.spec.sources],
        "augment": str(predictor.augment),
        "precision": predictor.engine.precision,
        "z_step": settings.z_step,
    }
    if predictor.factors != SAME_SIZE:
        details["resampled"] = list(predictor.factors)
    said = settings.model_dump(mode="json", exclude={"positions"})  # which position it is of, each record says itself
    return Recipe(said, predictor.model.fingerprint, details, computed_by(predictor.engine, settings.threads))


def _runner(settings: PredictSettings) -> BatchRunner | None:
    if not settings.scheduler:
        return None
    from napari_vstain.core.inference.to_disk.cluster import Cluster

    return Cluster(settings.scheduler)


def _result(
    batch: PredictionBatch,
    outcome: Outcome,
    config: Path,
    settings: PredictSettings,
    tiffs: Sequence[Path] = (),
    forecasts: Sequence[Forecast] = (),
) -> PredictResult:
    engine = batch.predictor.engine
    return PredictResult(
        batch.store.path,
        config,
        tuple(outcome.positions),
        tuple(outcome.warnings),
        f"{engine.name} on {engine.device}, {engine.precision}",
        outcome.megapixels,
        tuple(tiffs),
        tuple(outcome.left_out),
        tuple(forecasts),
        f"{settings.experiment}/{settings.run}"
        if settings.run and settings.model is None
        else _called(batch.predictor, settings),
    )


def _called(predictor: Predictor, settings: PredictSettings) -> str:
    return predictor.model.name or (settings.model.stem if settings.model else "")
