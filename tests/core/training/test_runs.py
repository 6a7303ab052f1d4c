"""A run says what became of it, only one that learned is chosen, and one that was interrupted goes on as if never."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from napari_vstain.core.errors import BusyError, ModelError, SettingsError, StorageError, VstainError, WorkspaceError
from napari_vstain.core.models.files.checkpoint import load_checkpoint
from napari_vstain.core.models.split import Split
from napari_vstain.core.owners import Owner
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.run_status import RunState, RunStatus, read_status, write_status
from napari_vstain.core.settings import load_config
from napari_vstain.core.training import TrainSettings, run
from napari_vstain.core.workspace import Workspace

from .conftest import Listener, changed, quick


def stopped_at(step, settings, workspace):
    listener = Listener(stop_when=lambda item: item.of_batch and item.step == step)
    with pytest.raises(Cancelled) as stopped:
        run(settings, workspace, listener.progress)
    return stopped.value.kept


def weights(path):
    return load_checkpoint(path)[1].state_dict()


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_run_that_is_complete_says_so(workspace):
    made = run(quick(), workspace, Progress())
    status = made.run.status
    assert (status.state, status.epochs, status.epochs_asked) == (RunState.COMPLETED, 2, 2)
    assert status.best_loss == pytest.approx(made.best_loss)
    said = json.loads((made.run.folder / "status.json").read_text())
    assert said["state"] == "completed" and said["heartbeat"] and Owner.parse(said["owner"]).lives()
    assert not made.run.lacks


def test_a_training_that_runs_says_so_and_how_far_it_is(workspace):
    seen = []

    def look(item):
        if item.of_batch:
            seen.append(workspace.experiment("first").runs()[-1].status)

    run(quick(), workspace, Listener(stop_when=look).progress)
    assert {status.state for status in seen} == {RunState.RUNNING}
    assert [status.epochs for status in seen] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("step", "dropout"), [(1, 0.0), (3, 0.0), (5, 0.0), (2, 0.5), (4, 0.5)])
def test_a_run_that_goes_on_equals_one_that_was_never_stopped(workspace, step, dropout):
    network = {"class_path": "monai.networks.nets.BasicUNet",
               "init_args": {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "features": [2, 2, 2, 2, 2, 2],
                             "dropout": dropout}}  # fmt: skip
    first, whole = (
        changed(quick(name, patch_px=32), "model.init_args.network", network) if dropout else quick(name)
        for name in ("first", "whole")
    )
    kept = stopped_at(step, first, workspace)
    assert (kept is not None) == (step > 3), "an epoch has three batches"
    interrupted = workspace.experiment("first").runs()[0]
    assert interrupted.status.state is RunState.STOPPED
    listener = Listener()
    result = run(
        TrainSettings.load(interrupted.config).model_copy(update={"resume": "version_0"}), workspace, listener.progress
    )
    assert [item.step for item in listener.items if item.of_batch] == [*range(step + 1, 7)]
    assert sum(report.done for report in listener.reports[-1:]) == 6 - step
    assert (result.run, result.epochs) == (interrupted, 2)
    assert len(workspace.experiment("first").runs()) == 1
    other = run(whole, workspace, Progress())
    for name in ("best", "last"):
        mine, theirs = weights(getattr(result.run, name)), weights(getattr(other.run, name))
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs), name
    if step >= 3:
        assert result.best_loss == other.best_loss


def test_a_run_whose_workspace_was_moved_keeps_its_best_epoch(workspace):
    made = run(quick(), workspace, Progress())
    checkpoint = torch.load(made.run.last, weights_only=True)
    (best,) = (name for name in checkpoint["callbacks"] if "loss/validate" in name)
    checkpoint["callbacks"][best] |= {
        "best_model_score": torch.tensor(1e-9),  # nothing that comes is as good
        "kth_value": torch.tensor(1e-9),
        "best_k_models": {made.run.best.as_posix(): torch.tensor(1e-9)},
    }
    torch.save(checkpoint, made.run.last)
    moved = Workspace.open(workspace.root.rename(workspace.root.with_name("elsewhere")))
    kept = moved.experiment("first").run().best
    before = kept.read_bytes()
    result = run(changed(quick(epochs=3), "resume", "version_0"), moved, Progress())
    assert result.epochs == 3
    assert result.checkpoint == kept
    assert kept.read_bytes() == before, "a worse epoch does not take the place of the best"
    assert [path.name for path in sorted(kept.parent.iterdir())] == ["best.ckpt", "last.ckpt"]


def test_batches_that_are_gathered_before_a_step_count_as_batches(workspace):
    settings = changed(quick(epochs=2, batches_per_epoch=4), "trainer.accumulate_grad_batches", 3)
    listener = Listener()
    run(settings, workspace, listener.progress)
    training = [report for report in listener.reports if report.phase == "Training"]
    assert (training[-1].done, training[-1].total) == (8, 8)


def test_a_run_that_was_stopped_before_its_first_epoch_ended_is_no_model(workspace):
    good = run(quick(), workspace, Progress())
    assert stopped_at(1, quick(), workspace) is None
    experiment = workspace.experiment("first")
    early = experiment.runs()[1]
    assert (early.status.state, early.status.epochs) == (RunState.STOPPED, 0)
    assert experiment.run() == good.run
    assert experiment.run("version_1") == early
    with pytest.raises(
        WorkspaceError, match=r"'first/version_1': was stopped after 0 of 2 epochs, before the first epoch"
    ):
        _ = early.checkpoint
    good.run.remove()
    with pytest.raises(WorkspaceError, match=r"`vstain train --resume first/version_1`"):
        experiment.run()


def test_the_newest_run_is_the_newest_that_ended_and_learned(workspace):
    experiment = workspace.experiment("first")
    good = run(quick(epochs=1), workspace, Progress()).run
    me = Owner.me()
    dead = str(Owner(me.machine, me.boot, me.pid, me.began - 1000, "u"))
    for state, owner, words in [
        (RunState.RUNNING, str(me), "is being trained by process"),
        (RunState.RUNNING, dead, "was killed after 3 of 9 epochs"),
        (RunState.FAILED, str(me), "failed after 3 of 9 epochs"),
    ]:
        other = experiment.new_run()
        shutil.copytree(good.checkpoints, other.checkpoints)
        write_status(other.folder, RunStatus(state, 3, 9, 0.1, owner))
        assert other.lacks.startswith(words)
        assert experiment.run() == good
        assert experiment.run(other.name) == other and other.checkpoint.is_file()
    before = experiment.new_run()
    assert experiment.run() == good, "made without a status and without a checkpoint"
    shutil.copytree(good.checkpoints, before.checkpoints)
    assert experiment.run() == before, "runs of before say nothing"


def test_only_a_run_that_is_not_trained_just_now_goes_on(workspace):
    made = run(quick(epochs=1), workspace, Progress())
    write_status(made.run.folder, RunStatus(RunState.RUNNING, 1, 9, 0.1, str(Owner.me())))
    with pytest.raises(BusyError, match=r"is being trained by process .* 1 of 9 epochs so far; wait"):
        run(changed(quick(epochs=3), "resume", "version_0"), workspace, Progress())


@pytest.mark.parametrize("way", ["resume", "ckpt_path"])
def test_a_run_that_has_no_epochs_left_is_one_sentence_and_no_run(workspace, way):
    made = run(quick(epochs=1), workspace, Progress())
    before = tree(workspace.root)
    settings = changed(quick(epochs=1), way, "version_0" if way == "resume" else str(made.run.last))
    with pytest.raises(SettingsError, match=r"trainer.max_epochs 1: is reached: .* has learned 1 epochs; ask for more"):
        run(settings, workspace, Progress())
    assert tree(workspace.root) == before
    assert workspace.experiment("first").run() == made.run


def test_what_was_chosen_by_itself_is_saved_as_values(workspace):
    settings = changed(quick(train=(), validate=(), test=(), batches_per_epoch=None, epochs=1), "seed_everything", True)
    made = run(settings, workspace, Progress())
    saved = load_config(made.run.config)
    parts = [tuple(saved["data"]["init_args"][part]) for part in ("train", "validate", "test")]
    assert Split(*parts) == made.spec.training.positions
    assert saved["threads"] == torch.get_num_threads()
    assert type(saved["seed_everything"]) is int and saved["data"]["init_args"]["patches"]["batches_per_epoch"] == 8
    again = run(TrainSettings.load(made.run.config), workspace, Progress())
    assert again.spec.weights == made.spec.weights


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("trainer.max_epochs", -3, r"trainer.max_epochs -3: "),
        ("trainer.accelerator", "quantum", r"trainer.accelerator 'quantum': "),
        ("trainer.devices", 2, r"trainer.devices 2: is more than one process"),
        ("trainer.precision", "13-bit", r"trainer.precision"),
        ("trainer.val_check_interval", 7.5, r"trainer.val_check_interval 7.5"),
        ("model.init_args.optimizer.init_args.lr", -1, r"model.optimizer: cannot be made: invalid learning rate: -1"),
        ("ckpt_path", "nowhere.ckpt", "nowhere.ckpt"),
        ("resume", "version_7", "version_7"),
    ],
)
def test_a_setting_that_lightning_refuses_is_one_sentence_and_leaves_nothing(workspace, path, value, message):
    with pytest.raises(VstainError, match=message):
        run(changed(quick(), path, value), workspace, Progress())
    assert not list((workspace.root / "models").rglob("*version*")) + list((workspace.root / "models").rglob("*.yml"))


def test_a_training_that_fails_after_a_while_is_never_chosen(workspace):
    good = run(quick(), workspace, Progress()).run

    def explode(item):
        if not item.of_batch:
            raise StorageError("disk", None, "is full", "free some space")

    with pytest.raises(StorageError):
        run(quick(epochs=3), workspace, Listener(stop_when=explode).progress)
    failed = workspace.experiment("first").runs()[-1]
    assert failed.status.state is RunState.FAILED and "is full" in failed.status.reason
    assert workspace.experiment("first").run() == good


def test_deleting_the_experiment_during_a_fit_is_one_sentence(workspace):
    def delete(item):
        if item.of_batch and item.step == 2:
            shutil.rmtree(workspace.root / "models" / "first")

    with pytest.raises(StorageError, match="version_0': its folder was deleted while it was training"):
        run(quick(epochs=3), workspace, Listener(stop_when=delete).progress)


_KILLED = """
import os, signal, sys
from napari_vstain.core.progress import Progress
from napari_vstain.core.training import TrainSettings, run
from napari_vstain.core.workspace import Workspace
class Killer:
    def reported(self, report): ...
    def produced(self, item):
        if item.of_batch and item.step == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
run(TrainSettings.load(sys.argv[1]), Workspace.open(sys.argv[2]), Progress(sink=Killer()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot kill itself like this there")
@pytest.mark.parametrize("step", [2, 5])
def test_a_killed_run_is_gone_on_from_or_leaves_nothing(workspace, tmp_path, step):
    quick().save(tmp_path / "settings.yml")
    command = [sys.executable, "-c", _KILLED, tmp_path / "settings.yml", workspace.root, str(step)]
    assert subprocess.run(command, capture_output=True).returncode == -9
    experiment = workspace.experiment("first")
    killed = experiment.runs()[0]
    assert killed.status.state is RunState.KILLED
    with pytest.raises(WorkspaceError, match=r"version_0': was killed after \d of 2 epochs"):
        experiment.run()
    whole = run(quick("whole"), workspace, Progress())
    listener = Listener()
    if step == 2:
        result = run(quick(), workspace, listener.progress)
        assert [one.name for one in experiment.runs()] == ["version_0"], "what learned nothing is gone"
    else:
        result = run(changed(quick(), "resume", "version_0"), workspace, listener.progress)
        assert [item.step for item in listener.items if item.of_batch] == [4, 5, 6]
    assert result.spec.weights == whole.spec.weights
    assert not [path for path in tree(workspace.root) if path.endswith((".partial", ".lock"))]
    if step == 5:
        assert (result.run.folder / "metrics_1.csv").is_file()


def test_a_status_that_cannot_be_read_is_none(tmp_path):
    for text in ("", "[]", "{}", '{"state": "dancing"}', '{"state": "running"}'):
        (tmp_path / "status.json").write_text(text)
        assert read_status(tmp_path) is None


def test_a_checkpoint_without_a_training_cannot_be_resumed(workspace, tmp_path):
    made = run(quick(epochs=1), workspace, Progress())
    known = torch.load(made.run.last, weights_only=True)
    del known["optimizer_states"]
    torch.save(known, made.run.last)
    with pytest.raises(ModelError, match="cannot be resumed"):
        run(changed(quick(epochs=3), "resume", "version_0"), workspace, Progress())
