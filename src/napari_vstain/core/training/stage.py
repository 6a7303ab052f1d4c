"""Train a network on a dataset: a run with its settings, logs and checkpoints, which can be run again."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from napari_vstain.core.errors import SettingsError, StorageError
from napari_vstain.core.experiments import Experiment, Run
from napari_vstain.core.files import check_writable, writing
from napari_vstain.core.models.files.checkpoint import load_spec
from napari_vstain.core.models.networks import allow_trained
from napari_vstain.core.models.spec import Dimensions, ModelSpec
from napari_vstain.core.owners import Owner
from napari_vstain.core.process_tweaks import quiet_training
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.run_status import RunState, RunStatus, StatusWriter
from napari_vstain.core.settings import save_config
from napari_vstain.core.training.build_spec import describe
from napari_vstain.core.training.data import PatchDataModule
from napari_vstain.core.training.fitting import check_optimizer, make_trainer, refused
from napari_vstain.core.training.parsing import Parts, build
from napari_vstain.core.training.reporting import Reporter
from napari_vstain.core.training.resolved import resolved, with_seed
from napari_vstain.core.training.results import TRAIN_LOSS, VALIDATION_LOSS, TrainResult
from napari_vstain.core.training.resuming import check_epochs_left, how_to_go_on, resumable, take_over
from napari_vstain.core.training.settings import TrainSettings
from napari_vstain.core.training.training_family import Family
from napari_vstain.core.workspace import Workspace

_MOST = {"min": "lowest", "max": "highest"}


def run(settings: TrainSettings, workspace: Workspace, progress: Progress) -> TrainResult:
    """Train, and return the run with its best checkpoint.

    The package of the user's own network is allowed from then on: model files may name it on this computer.

    The run's folder holds Lightning's logs, ``checkpoints/best.ckpt`` and ``last.ckpt``, and ``status.json``, which
    says what became of it; the settings, all that was chosen filled in, are saved beside it as
    ``training_config<N>.yml``, and as plain LightningCLI reads them in the folder's ``config.yaml``. A run that fails
    before its first batch leaves nothing. `progress` is told of every batch, and produces `Scalars` after each batch
    and each epoch.

    Raises
    ------
    Cancelled
        When it was stopped, within one batch; `kept` is the TrainResult, or None if no epoch was finished yet.
    SettingsError, ChannelError, DatasetError, ModelError
        When settings, data and network do not fit; nothing is written then.
    StorageError
        When the disk takes no checkpoint.
    WorkspaceError
        When there is no such run to go on with.
    """
    experiment = workspace.experiment(settings.experiment)
    resumed = resumable(experiment, settings.resume) if settings.resume else None
    with quiet_training(), _threads(settings.threads):
        progress.phase("Starting")
        settings = with_seed(settings)
        parts = build(settings)
        model, data = _checked(parts)
        allow_trained(parts.config["model"]["init_args"]["network"])
        data.workspace, data.report, data.strict = workspace, progress, settings.strict
        data.setup("fit")
        spec = describe(model.generator, parts.config["model"]["init_args"]["network"], data)
        check_optimizer(model)
        start = str(resumed.last) if resumed else settings.ckpt_path
        if start is not None:
            check_epochs_left(start, parts.trainer)
        check_writable(experiment.models)
        _tidy(experiment, resumed, progress)
        reporter = Reporter(progress, settings.monitor or (VALIDATION_LOSS if data.validation else TRAIN_LOSS))
        run, trainer = _begin(parts, data, experiment, reporter, resumed, settings.mode)
        model.spec = _in_run(spec, run)
        try:
            _save_settings(resolved(settings, data, torch.get_num_threads()), run, str(data.dataset.path))
            if settings.monitor:
                data.notes += (f"The epoch of the {_MOST[settings.mode]} {settings.monitor} is the model.",)
            return _fit(model, data, trainer, run, reporter, start)
        except MisconfigurationException as error:
            raise refused(parts, error) from error
        finally:
            if resumed is None and reporter.batches == 0:
                run.remove()


def _begin(
    parts: Parts,
    data: PatchDataModule,
    experiment: Experiment,
    reporter: Reporter,
    resumed: Run | None,
    mode: Literal["min", "max"],
) -> tuple[Run, Trainer]:
    """Return the run and its Trainer, which is built before the run's folder is made."""
    limit = parts.trainer.get("max_epochs")
    asked = None if limit in (None, -1) else int(limit)
    status = RunStatus(RunState.RUNNING, epochs_asked=asked, owner=str(Owner.me()))
    if resumed is not None:
        trainer = make_trainer(parts, data, resumed, reporter, mode)
        reporter.writes(resumed, take_over(resumed, status))
        return resumed, trainer
    while True:
        run = experiment.next_run()
        trainer = make_trainer(parts, data, run, reporter, mode)
        if experiment.claim(run, status):
            reporter.writes(run, StatusWriter(run.folder, status))
            return run, trainer


def _fit(
    model: Family, data: PatchDataModule, trainer: Trainer, run: Run, reporter: Reporter, start: str | None
) -> TrainResult:
    if model.spec and model.spec.dimensions is Dimensions.TWO:
        model.generator.to(memory_format=torch.channels_last)
    try:
        with reporter.status.beating(), writing(run.folder):
            try:
                trainer.fit(model, datamodule=data, ckpt_path=start, weights_only=True)
            finally:
                for logger in trainer.loggers:
                    logger.finalize("finished")
        reporter.ended(RunState.COMPLETED)
    except (Cancelled, SIGTERMException) as stop:  # Lightning turns a SIGTERM into an exit that looks like success
        reporter.ended(RunState.STOPPED)
        raise Cancelled(_result(run, data, reporter, stopped=True) if reporter.epochs else None) from stop
    except BaseException as error:
        with suppress(StorageError):  # the disk may be full, or the folder gone: the first error is the one to tell
            reporter.ended(RunState.FAILED, reason=str(error))
            if run.last.is_file():
                reporter.progress.note(how_to_go_on(run))
        raise
    return _result(run, data, reporter, stopped=False)


def _tidy(experiment: Experiment, resumed: Run | None, progress: Progress) -> None:
    """Remove what killed trainings of the experiment left behind, and say which can be gone on with."""
    experiment.remove_empty_runs()
    for run in experiment.runs():
        status = run.status
        if run != resumed and status is not None and status.state is RunState.KILLED:
            progress.note(how_to_go_on(run))


def _result(run: Run, data: PatchDataModule, reporter: Reporter, stopped: bool) -> TrainResult:
    spec = load_spec(run.checkpoint)
    said = (data.left_out, data.notes)
    return TrainResult(run, run.checkpoint, spec, reporter.epochs, reporter.best_loss, stopped, *said)


def _checked(parts: Parts) -> tuple[Family, PatchDataModule]:
    if not isinstance(parts.model, Family):
        rule, remedy = "is no Family of trainings", "derive it from StainingModule"
        raise SettingsError("model.class_path", type(parts.model).__name__, rule, remedy)
    if not isinstance(parts.data, PatchDataModule):
        rule = "is no PatchDataModule"
        raise SettingsError("data.class_path", type(parts.data).__name__, rule, "derive it from PatchDataModule")
    return parts.model, parts.data


def _in_run(spec: ModelSpec, run: Run) -> ModelSpec:
    known = {"experiment": run.experiment.name, "run": run.name, "config": run.config.name}
    return spec.model_copy(update={"name": run.label, "training": spec.training.model_copy(update=known)})


def _save_settings(settings: TrainSettings, run: Run, dataset: str) -> None:
    """Save the file that makes this run again, and the same as plain LightningCLI reads it."""
    header = f"run: {run.name}, in {run.folder.relative_to(run.experiment.root)}"
    save_config(settings.model_dump(mode="json", exclude={"resume"}), run.config, header)
    plain = settings.lightning()
    plain["data"] = {**plain["data"], "init_args": {**plain["data"].get("init_args", {}), "dataset": dataset}}
    save_config(plain, run.folder / "config.yaml", f"run: {run.name}, made from {run.config.name}")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use at most `count` cores on this thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
