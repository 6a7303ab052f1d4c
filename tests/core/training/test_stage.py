"""A training learns, says what it does, stops at once, and can be run again."""

import json
import math
import os
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
import yaml

from napari_vstain.core.data import open_dataset
from napari_vstain.core.errors import ChannelError, DatasetError, ModelError, SettingsError, VstainError
from napari_vstain.core.inference import load_predictor
from napari_vstain.core.jobs import FinishReason, Job
from napari_vstain.core.models.files.checkpoint import load_checkpoint
from napari_vstain.core.models.files.onnx_file import export_onnx
from napari_vstain.core.models.split import Split
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.settings import resolve
from napari_vstain.core.training import TrainSettings, run
from napari_vstain.core.training.parsing import build

from .conftest import KEYS, Listener, changed, images, quick, write_plate


def _tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.timeout(120)
def test_a_network_learns_a_blur_and_its_checkpoint_alone_predicts_it(workspace):
    settings = quick(epochs=4, batches_per_epoch=20, learning_rate=0.02, features=[4, 4])
    settings = changed(settings, "data.init_args.source_normalization", {"level": "dataset"})
    settings = changed(settings, "data.init_args.patches.brightness", 0)  # the target tells of nothing else
    result = run(settings, workspace, Progress())
    spec, network = load_checkpoint(result.checkpoint)
    assert spec == result.spec
    image = open_dataset(workspace.dataset("plate")).position(KEYS[2]).read(["Phase", "Nuclei"])[:, 0]
    offset, divisor = spec.source_offset_and_divisor("Phase")
    with torch.inference_mode():
        made = network(torch.from_numpy((image[:1] - offset) / divisor).float()[None])[0, 0].numpy()
    offset, divisor = spec.target_offset_and_divisor("Nuclei")
    made = made * divisor + offset
    assert np.corrcoef(made.ravel(), image[1].ravel())[0, 1] > 0.9
    assert abs(made.mean() - image[1].mean()) < 0.5 * image[1].std()


def test_a_run_has_its_settings_logs_checkpoints_and_describes_its_model(workspace):
    listener = Listener()
    result = run(quick(), workspace, listener.progress)
    models = workspace.root / "models"
    files = _tree(models)
    assert "first/training_config0.yml" in files
    folder = "first/lightning_logs/version_0"
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "config.yaml"):
        assert f"{folder}/{name}" in files
    assert any(name.startswith(f"{folder}/events.out.tfevents") for name in files)
    assert result.run.name in result.run.config.read_text().splitlines()[0]
    assert "training_config0.yml" in (result.run.folder / "config.yaml").read_text().splitlines()[0]
    spec = result.spec
    assert (spec.name, spec.sources, spec.targets) == ("first/version_0", ("Phase",), ("Nuclei",))
    assert (spec.stride, spec.halo, spec.tile_exact, spec.spacing_um) == ((1, 2, 2), (0, 10, 10), True, (1, 0.5, 0.5))
    assert set(spec.statistics) == {"Phase", "Nuclei"}
    assert spec.training.positions == Split((KEYS[0],), (KEYS[1],), (KEYS[2],))
    assert spec.training.config == "training_config0.yml"
    assert spec.versions["torch"] == torch.__version__
    batches = [item for item in listener.items if item.of_batch]
    epochs = [item for item in listener.items if not item.of_batch]
    assert [batch.step for batch in batches] == [1, 2, 3, 4, 5, 6]
    assert [(said.epoch, said.step) for said in epochs] == [(1, 3), (2, 6)]
    names = {"loss/train_epoch", "loss/validate", "pearson/Nuclei", "lr"}
    assert all(said.values.keys() == names and all(map(math.isfinite, said.values.values())) for said in epochs)
    assert all(batch.values.keys() == {"loss/train_step"} for batch in batches)
    assert result.best_loss == min(said.values["loss/validate"] for said in epochs)
    assert (result.epochs, result.stopped) == (2, False)
    last = listener.reports[-1]
    assert (last.phase, last.done, last.total, last.unit) == ("Training", 6, 6, "batches")


def test_the_statistics_are_those_of_the_training_positions(workspace):
    result = run(quick(epochs=1), workspace, Progress())
    source = open_dataset(workspace.dataset("plate")).position(KEYS[0]).read(["Phase"])
    assert result.spec.statistics["Phase"].mean == pytest.approx(source.mean(), abs=1)
    assert result.spec.statistics["Phase"].std == pytest.approx(source.std(), rel=0.1)


def test_the_saved_settings_give_the_same_weights_again(workspace):
    first = run(quick(), workspace, Progress())
    again = run(TrainSettings.load(first.run.config), workspace, Progress())
    assert again.run.name == "version_1"
    assert again.spec.weights == first.spec.weights
    other = run(quick(seed=1), workspace, Progress())
    assert other.spec.weights != first.spec.weights


def test_plain_lightning_reads_the_same_file(workspace, monkeypatch):
    from lightning.pytorch.cli import LightningCLI

    monkeypatch.setattr("sys.argv", ["cli"])
    result = run(quick(epochs=1), workspace, Progress())
    arguments = ["--config", str(result.run.folder / "config.yaml")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own, of jsonargparse and of its empty folder
        cli = LightningCLI(args=arguments, run=False, save_config_callback=None, parser_kwargs={"exit_on_error": False})
    assert type(cli.model).__name__ == "StainingModule"
    cli.datamodule.setup("fit")
    batch = next(iter(cli.datamodule.train_dataloader()))
    assert cli.model(batch.source).shape == batch.targets["stain"].shape


@pytest.mark.parametrize("moment", ["batch", "validation", "start"])
def test_a_stop_keeps_what_was_learned(workspace, monkeypatch, moment):
    from napari_vstain.core.training.module import StainingModule

    listener = Listener(stop_when=lambda item: moment == "batch" and item.of_batch and item.step == 5)
    validated = []
    if moment == "validation":
        ours = StainingModule.validation_step

        def stopping(self, batch, index):
            if self.trainer.current_epoch == 1:
                validated.append(index)
                listener.progress.token.cancel()
            return ours(self, batch, index)

        monkeypatch.setattr(StainingModule, "validation_step", stopping)
    if moment == "start":
        listener.progress.token.cancel()
    with pytest.raises(Cancelled) as stopped:
        run(quick(epochs=50), workspace, listener.progress)
    kept = stopped.value.kept
    if moment == "start":
        assert kept is None
        assert _tree(workspace.root / "models") == []
        return
    assert kept.stopped
    assert kept.checkpoint == kept.run.checkpoint
    assert kept.epochs == 1
    steps = load_checkpoint(kept.run.last)[0].training.steps
    assert steps == (5 if moment == "batch" else 6)
    assert len(validated) <= 1


def test_a_terminated_process_keeps_what_was_learned_and_does_not_look_finished(workspace):
    def terminate(item):
        if item.of_batch and item.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Cancelled) as stopped:
        run(quick(epochs=50), workspace, Listener(stop_when=terminate).progress)
    assert stopped.value.kept.epochs >= 1
    assert load_checkpoint(stopped.value.kept.run.last)[0].training.steps >= 5


def test_a_stopped_run_goes_on_where_it_was(workspace):
    listener = Listener(stop_when=lambda item: not item.of_batch)
    with pytest.raises(Cancelled) as stopped:
        run(quick(), workspace, listener.progress)
    last = stopped.value.kept.run.checkpoints / "last.ckpt"
    resumed = Listener()
    result = run(changed(quick(), "ckpt_path", str(last)), workspace, resumed.progress)
    assert [item.step for item in resumed.items if item.of_batch] == [4, 5, 6]
    assert result.run.number == 1
    whole = run(quick("whole"), workspace, Progress())
    one, other = (load_checkpoint(r.run.checkpoints / "last.ckpt")[1].state_dict() for r in (result, whole))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_the_last_checkpoint_is_of_the_last_epoch_and_the_best_of_the_best(workspace, monkeypatch):
    from napari_vstain.core.training.objective import Objective

    losses = iter([2.0, 1.0, 3.0])
    monkeypatch.setattr(Objective, "forward", _judged(Objective.forward, losses))
    made = run(quick(epochs=3, batches_per_epoch=2), workspace, Progress())
    steps = {
        name: load_checkpoint(made.run.checkpoints / name)[0].training.steps for name in ("best.ckpt", "last.ckpt")
    }
    assert steps == {"best.ckpt": 4, "last.ckpt": 6}
    longer = changed(quick(epochs=4, batches_per_epoch=2), "ckpt_path", str(made.run.checkpoints / "last.ckpt"))
    monkeypatch.undo()
    listener = Listener()
    run(longer, workspace, listener.progress)
    assert [item.step for item in listener.items if item.of_batch] == [7, 8]


def _judged(ours, losses):
    """Return a loss that is `ours` in training, and in validation the next of `losses`, one an epoch."""
    shown = {}

    def loss(self, made, batch):
        said = ours(self, made, batch)
        if self.training:
            shown["training"] = True
            return said
        if shown.pop("training", False):
            shown["loss"] = next(losses)
        return said._replace(total=made["stain"].new_tensor(shown["loss"]))

    return loss


def test_a_job_on_a_thread_is_quiet_finishes_once_and_gives_the_threads_back(workspace, capfd):
    before = torch.get_num_threads()
    reasons = []
    job = Job(lambda progress: run(changed(quick(), "threads", 2), workspace, progress), "train")
    job.finished.connect(reasons.append)
    job.start()
    assert job.result().epochs == 2
    assert reasons == [FinishReason.COMPLETED]
    assert torch.get_num_threads() == before
    assert capfd.readouterr() == ("", "")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vstain-train")]


@pytest.mark.parametrize("level", ["fov", "timepoint"])
def test_sources_may_be_normalized_by_their_own_statistics(workspace, level):
    settings = changed(
        quick(epochs=1), "data.init_args.source_normalization", {"level": level, "subtract": "median", "divide": "iqr"}
    )
    spec = run(settings, workspace, Progress()).spec
    assert (spec.source_normalization.level, spec.source_normalization.divide) == (level, "iqr")
    assert spec.target_normalization.level == "dataset"


def test_without_validation_the_training_loss_chooses(workspace):
    listener = Listener()
    settings = changed(quick(), "data.init_args.validate", [])
    result = run(settings, workspace, listener.progress)
    epochs = [item for item in listener.items if not item.of_batch]
    assert not any("loss/validate" in said.values for said in epochs)
    assert result.best_loss == min(said.values["loss/train_epoch"] for said in epochs)


def test_any_scalar_chooses_the_epoch(workspace):
    listener = Listener()
    settings = changed(changed(quick(epochs=4), "monitor", "pearson/Nuclei"), "mode", "max")
    result = run(settings, workspace, listener.progress)
    epochs = [item for item in listener.items if not item.of_batch]
    best = max(epochs, key=lambda said: said.values["pearson/Nuclei"])
    assert load_checkpoint(result.run.best)[0].training.steps == best.step
    assert "The epoch of the highest pearson/Nuclei is the model." in result.remarks
    assert (TrainSettings.load(result.run.config).monitor, TrainSettings.load(result.run.config).mode) == (
        "pearson/Nuclei",
        "max",
    )
    with pytest.raises(SettingsError, match=r"'pearson/Nucleus'.*choose one of loss/.*lr"):
        run(changed(quick(epochs=1), "monitor", "pearson/Nucleus"), workspace, Progress())


def test_other_networks_losses_optimizers_and_schedules_are_named_by_their_paths(workspace):
    network = {
        "class_path": "monai.networks.nets.BasicUNet",
        "init_args": {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 1,
            "features": [2, 2, 2, 2, 2, 2],
            "norm": "batch",
        },
    }
    settings = changed(quick(epochs=2, patch_px=32), "model.init_args.network", network)
    settings = changed(settings, "model.init_args.loss", {"class_path": "torch.nn.L1Loss"})
    settings = changed(
        settings, "model.init_args.optimizer", {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    )
    schedule = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1, "gamma": 0.5}}
    listener = Listener()
    result = run(changed(settings, "model.init_args.schedule", schedule), workspace, listener.progress)
    assert result.spec.stride == (1, 16, 16)
    assert result.spec.config["class_path"] == "monai.networks.nets.BasicUNet"
    rates = [item.values["lr"] for item in listener.items if not item.of_batch]
    assert rates[0] / rates[1] == pytest.approx(2)
    load_checkpoint(result.checkpoint)


def test_a_network_of_ones_own_package_that_trains_predicts_and_is_exported(workspace, tmp_path, monkeypatch):
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "nets.py").write_text(
        "import torch\n\n\nclass Tiny(torch.nn.Sequential):\n    def __init__(self, width=2):\n"
        "        layers = torch.nn.Conv2d(1, width, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(width, 1, 1)\n"
        "        super().__init__(*layers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("VSTAIN_CONFIG", str(tmp_path / "settings"))
    network = {"class_path": "mylab.nets.Tiny", "init_args": {"width": 3}}
    result = run(changed(quick(epochs=1), "model.init_args.network", network), workspace, Progress())
    predictor = load_predictor(result.checkpoint, engine="torch", device="cpu", threads=1)
    assert predictor.predict(images(0)[0, :1, 0, :24, :24])["stain"].shape == (1, 24, 24)
    assert export_onnx(*reversed(load_checkpoint(result.checkpoint)), tmp_path / "mine.onnx").is_file()
    monkeypatch.setenv("VSTAIN_CONFIG", str(tmp_path / "of somebody else"))
    with pytest.raises(ModelError, match="if you trust the file, add its package"):
        load_checkpoint(result.checkpoint)


@pytest.mark.parametrize(("dimensions", "z_window"), [("2.5D", 3), ("3D", 2)])
def test_windows_and_stacks_are_learned_too(workspace, dimensions, z_window):
    deep = {key: images(index, (1, 4, 24, 24)) for index, key in enumerate(KEYS)}
    write_plate(workspace.datasets / "2026_01_01_deep.zarr", deep)
    settings = changed(quick(dataset="deep", epochs=1), "data.init_args.patches.z_window", z_window)
    settings = changed(settings, "model.init_args.network.init_args.dimensions", dimensions)
    settings = changed(settings, "model.init_args.network.init_args.z_window", z_window)
    spec, network = load_checkpoint(run(settings, workspace, Progress()).checkpoint)
    assert spec.dimensions == dimensions
    assert network(torch.zeros(1, 1, z_window, 8, 8)).shape == (1, 1, z_window, 8, 8)


def test_pixels_that_are_not_numbers_are_left_out_of_the_loss(workspace):
    broken = {key: images(index) for index, key in enumerate(KEYS)}
    broken[KEYS[0]][:, 1, :, :24] = np.nan
    broken[KEYS[0]][:, 0, :, 40] = np.inf
    write_plate(workspace.datasets / "2026_01_01_broken.zarr", broken)
    listener = Listener()
    result = run(quick(dataset="broken", batches_per_epoch=8), workspace, listener.progress)
    assert all(math.isfinite(item.values["loss/train_step"]) for item in listener.items if item.of_batch)
    assert math.isfinite(result.best_loss)
    assert all(torch.isfinite(value).all() for value in load_checkpoint(result.checkpoint)[1].state_dict().values())


def test_what_is_not_valid_has_no_part_in_the_loss():
    from napari_vstain.core.training.module import StainingModule
    from napari_vstain.core.training.tensors import Batch

    module = StainingModule(torch.nn.Identity())
    prediction, target = torch.tensor([[1.0, 2.0, 9.0]], requires_grad=True), torch.tensor([[0.0, 0.0, 0.0]])
    batch = Batch(target[None, None], {"stain": target[None, None]}, {"stain": torch.tensor([[[[True, True, False]]]])})
    loss = module.objective({"stain": prediction[None, None]}, batch).total
    loss.backward()
    assert float(loss.detach()) == pytest.approx((1 + 4) / 2)
    assert prediction.grad.tolist() == [[1, 2, 0]]


WRONG = {
    "no such channel": (quick(sources=["DIC"]), ChannelError, "DIC"),
    "a constant target": (quick(targets=["Flat"]), DatasetError, "constant"),
    "a position that is not there": (quick(train=["Z/9/9"]), ChannelError, "Z/9/9"),
    "a test that is trained on": (quick(test=[KEYS[0]]), SettingsError, "keep the test apart"),
    "a patch larger than the image": (quick(patch_px=50), SettingsError, "choose 48 px or less"),
    "a patch off the stride": (quick(patch_px=15), SettingsError, "multiple of the network's stride, 2 px"),
    "a network of other channels": (
        changed(quick(), "model.init_args.network.init_args.in_channels", 2), SettingsError, "cannot take 1 sources",
    ),
    "a network of other targets": (
        changed(quick(), "model.init_args.network.init_args.out_channels", 3), SettingsError, "for 1 targets",
    ),
    "several slices for a 2D network": (
        changed(quick(), "data.init_args.patches.z_window", 2), SettingsError, "one slice|has 1",
    ),
    "a dataset that is not there": (quick(dataset="nowhere"), VstainError, "nowhere"),
    "a name that is no folder": (quick("a/b"), VstainError, "a/b"),
    "no checkpoint to resume": (changed(quick(), "ckpt_path", "/no/such.ckpt"), ModelError, "is not there"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_trained_is_one_sentence_and_writes_nothing(workspace, settings, error, message):
    with pytest.raises(error, match=message) as raised:
        run(settings, workspace, Progress())
    assert "\n" not in str(raised.value)
    assert _tree(workspace.root / "models") == []


MISTAKES = {
    "trainer.max_epoch": (3, "max_epoch"),
    "trainer.max_epochs": ("many", r"trainer.max_epochs 'many'.*whole number"),
    "trainer.precision": ("13-bit", r"trainer.precision '13-bit': must be one of 64, 32, 16, .*16-mixed"),
    "model.class_path": ("no.such.Module", "No module named 'no'|no module named 'no'"),
    "model.init_args.network.class_path": ("no.such.Net", "network.*no module named 'no'"),
    "model.init_args.network.init_args": ({"depth": 1}, "depth: is no setting"),
    "model.init_args.network.init_args.features": ([], "at least 1"),
    "model.init_args.optimizer.init_args.lr": ("fast", "optimizer.lr 'fast'.*number"),
    "data.init_args.patches": ({"size_px": 4}, "patches.size_px '4'.*greater than or equal to 8"),
    "data.init_args.source": (["Phase"], "source: is no setting"),
    "model.init_args.loss": ({"class_path": "torch.nn.NoLoss"}, "loss.*NoLoss"),
}


@pytest.mark.parametrize(("path", "mistake"), MISTAKES.items())
def test_a_mistake_in_the_file_is_one_sentence_that_names_the_key(workspace, path, mistake):
    value, message = mistake
    with pytest.raises(SettingsError, match=message) as raised:
        run(changed(quick(), path, value), workspace, Progress())
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
    assert _tree(workspace.root / "models") == []


def test_a_network_that_takes_the_place_of_another_gets_the_channels_of_the_data():
    path = "model.init_args.network"
    overrides = [f"{path}.class_path=monai.networks.nets.BasicUNet", f"{path}.init_args.spatial_dims=2"]
    values = TrainSettings.quick("first", "cells", ["a", "b", "c"], ["d", "e"]).model_dump(mode="json")
    network = build(TrainSettings.parse(resolve(values, overrides))).config["model"]["init_args"]["network"]
    assert (network["init_args"]["in_channels"], network["init_args"]["out_channels"]) == (3, 2)


def test_a_loss_that_explodes_says_so(workspace):
    with pytest.raises(SettingsError, match="lower the learning rate"):
        run(changed(quick(learning_rate=1e30), "trainer.gradient_clip_val", None), workspace, Progress())


def test_a_file_with_references_and_auxiliary_values_is_understood(workspace, tmp_path):
    values = json.loads(quick().model_dump_json())
    values["_aux"] = {"epochs": 1}
    values["trainer"]["max_epochs"] = "${_aux.epochs}"
    path = tmp_path / "train.yml"
    path.write_text(yaml.safe_dump(values))
    assert run(TrainSettings.load(path), workspace, Progress()).epochs == 1


def test_the_presets_can_be_parsed():
    from napari_vstain.core.training.parsing import build

    for preset in ("unet", "unet_large"):
        parts = build(TrainSettings.quick("e", "d", ["P"], ["A", "B"], preset=preset))
        assert parts.model.network.out_channels == 2
