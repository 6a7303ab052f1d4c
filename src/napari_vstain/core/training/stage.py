"""Train a network on a dataset: a run with its settings, logs and checkpoints, which can be run again."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from napari_vstain.core.errors import ModelError, SettingsError
from napari_vstain.core.experiments import Run
from napari_vstain.core.files import check_writable, writing
from napari_vstain.core.models.checkpoint import load_spec, read_checkpoint
from napari_vstain.core.models.networks import allow_trained
from napari_vstain.core.models.spec import Dimensions, ModelSpec
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.settings import save_config
from napari_vstain.core.training.data import PatchDataModule
from napari_vstain.core.training.description import describe
from napari_vstain.core.training.module import TRAIN_LOSS, VALIDATION_LOSS, StainingModule
from napari_vstain.core.training.parsing import Parts, build
from napari_vstain.core.training.reporting import AtomicCheckpointIO, Reporter
from napari_vstain.core.training.results import TrainResult
from napari_vstain.core.training.settings import TrainSettings
from napari_vstain.core.workspace import Workspace

BEST, LAST = "best.ckpt", "last.ckpt"
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning")
_OUR_ARGUMENTS = ("callbacks", "logger", "plugins", "enable_progress_bar", "enable_model_summary", "default_root_dir")


def run(settings: TrainSettings, workspace: Workspace, progress: Progress) -> TrainResult:
    """Train, and return the run with its best checkpoint.

    The package of the user's own network is allowed from then on: model files may name it on this computer.

    The run's folder holds Lightning's logs and ``checkpoints/best.ckpt`` and ``last.ckpt``; the settings are saved
    beside it as ``training_config<N>.yml``, and as plain LightningCLI reads them in the folder's ``config.yaml``.
    `progress` is told of every batch, and produces `BatchLoss` and `EpochLosses`.

    Raises
    ------
    Cancelled
        When it was stopped, within one batch; `kept` is the TrainResult, or None if nothing was learned yet.
    SettingsError, ChannelError, DatasetError, ModelError
        When settings, data and network do not fit; nothing is written then.
    StorageError
        When the disk takes no checkpoint.
    """
    with _quiet(), _threads(settings.threads):
        progress.phase("Starting")
        parts = build(settings)
        model, data = _checked(parts)
        allow_trained(parts.config["model"]["init_args"]["network"])
        data.workspace, data.report, data.strict = workspace, progress, settings.strict
        data.setup("fit")
        settings = _resolved(settings, data)
        spec = describe(model.network, parts.config["model"]["init_args"]["network"], data)
        _check_resume(settings.ckpt_path)
        check_writable(workspace.experiment(settings.experiment).models)
        run = workspace.experiment(settings.experiment).new_run()
        model.spec = _in_run(spec, run)
        _save_settings(settings, parts, run, str(data.dataset.path))
        return _fit(settings, parts, model, data, run, progress)


def _fit(
    settings: TrainSettings, parts: Parts, model: StainingModule, data: PatchDataModule, run: Run, progress: Progress
) -> TrainResult:
    reporter = Reporter(progress, run.checkpoints / LAST)
    trainer = _trainer(parts, data, run, reporter)
    if model.spec and model.spec.dimensions is Dimensions.TWO:
        model.network.to(memory_format=torch.channels_last)
    try:
        with writing(run.folder):
            trainer.fit(model, datamodule=data, ckpt_path=settings.ckpt_path, weights_only=True)
    except (Cancelled, SIGTERMException) as stop:  # Lightning turns a SIGTERM into an exit that looks like success
        raise Cancelled(_result(run, data, reporter, stopped=True) if trainer.global_step else None) from stop
    finally:
        for logger in trainer.loggers:
            logger.finalize("finished")
    return _result(run, data, reporter, stopped=False)


def _trainer(parts: Parts, data: PatchDataModule, run: Run, reporter: Reporter) -> Trainer:
    given = {name: value for name, value in parts.trainer.items() if name not in _OUR_ARGUMENTS}
    given |= {"num_sanity_val_steps": 0} | ({} if data.validation else {"limit_val_batches": 0})
    watched = VALIDATION_LOSS if data.validation else f"{TRAIN_LOSS}_epoch"
    best, last = _saver(run, BEST, watched), _saver(run, LAST, None)  # Lightning's save_last repeats the best
    place = {"save_dir": run.experiment.models, "name": run.experiment.logs.name, "version": run.number}
    theirs = parts.trainer.get("logger")
    extra = [theirs] if theirs and not isinstance(theirs, (bool, list)) else theirs if isinstance(theirs, list) else []
    return Trainer(
        **given,
        callbacks=[*_listed(parts.trainer.get("callbacks")), reporter, best, last],
        logger=[TensorBoardLogger(**place), CSVLogger(**place), *extra],
        plugins=[*_listed(parts.trainer.get("plugins")), AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.folder,
    )


def _saver(run: Run, name: str, monitor: str | None) -> ModelCheckpoint:
    """Return what saves the epoch with the lowest `monitor`, or the newest one when nothing is monitored."""
    return ModelCheckpoint(
        run.checkpoints,
        name.removesuffix(".ckpt"),
        monitor=monitor,
        enable_version_counter=False,
        save_on_exception=False,
        save_on_train_epoch_end=True,
    )


def _result(run: Run, data: PatchDataModule, reporter: Reporter, stopped: bool) -> TrainResult:
    spec = load_spec(run.checkpoint)
    said = (data.left_out, data.notes)
    return TrainResult(run, run.checkpoint, spec, reporter.epochs, reporter.best_loss, stopped, *said)


def _resolved(settings: TrainSettings, data: PatchDataModule) -> TrainSettings:
    """Return the settings with what the images decided: how targets are normalized."""
    given = settings.data.get("init_args", {})
    decided = {"target_normalization": data.target_normalization.model_dump(mode="json")}
    return settings.model_copy(update={"data": {**settings.data, "init_args": {**given, **decided}}})


def _checked(parts: Parts) -> tuple[StainingModule, PatchDataModule]:
    if not isinstance(parts.model, StainingModule):
        rule = "is no StainingModule"
        raise SettingsError("model.class_path", type(parts.model).__name__, rule, "derive it from StainingModule")
    if not isinstance(parts.data, PatchDataModule):
        rule = "is no PatchDataModule"
        raise SettingsError("data.class_path", type(parts.data).__name__, rule, "derive it from PatchDataModule")
    return parts.model, parts.data


def _check_resume(path: str | None) -> None:
    if path is not None and "optimizer_states" not in read_checkpoint(path, lazily=True):
        raise ModelError("checkpoint", path, "cannot be resumed", "choose a checkpoint of an earlier run")


def _in_run(spec: ModelSpec, run: Run) -> ModelSpec:
    training = {"experiment": run.experiment.name, "run": run.name, "config": run.config.name, **spec.training}
    return spec.model_copy(update={"name": run.label, "training": training})


def _save_settings(settings: TrainSettings, parts: Parts, run: Run, dataset: str) -> None:
    """Save the file that makes this run again, and the same as plain LightningCLI reads it."""
    header = f"run: {run.name}, in {run.folder.relative_to(run.experiment.root)}"
    save_config(settings.model_dump(mode="json"), run.config, header)
    plain = settings.lightning()
    plain["data"] = {**plain["data"], "init_args": {**plain["data"].get("init_args", {}), "dataset": dataset}}
    save_config(plain, run.folder / "config.yaml", f"run: {run.name}, made from {run.config.name}")


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use at most `count` cores on this thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from talking: what matters is reported, and its advice is for programmers."""
    for category, message in _ADVICE:
        warnings.filterwarnings("ignore", message=message, category=category)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


_ADVICE: tuple[tuple[type[Warning], str], ...] = (
    (UserWarning, r".*does not have many workers"),
    (UserWarning, r"Experiment logs directory .* exists and is not empty"),
    (UserWarning, r"Checkpoint directory .* exists and is not empty"),
    (UserWarning, r"The number of training batches .* is smaller than the logging interval"),
    (UserWarning, r"You defined a `validation_step` but have no `val_dataloader`"),
    (UserWarning, r".*GPU available but not used"),
    (UserWarning, r"The dirpath has changed from"),
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    (UserWarning, r".*Starting from v1.9.0, `tensorboardX`"),
)
