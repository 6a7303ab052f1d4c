"""Stage 3 from store to store: every position, once, whatever interrupts it."""

import errno
import os
import signal
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import yaml

from napari_vstain.core.data import identity, open_dataset, recorded
from napari_vstain.core.data.predicted import made_from
from napari_vstain.core.errors import ChannelError, DatasetError, SettingsError, StorageError
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.inference.to_disk import position_store
from napari_vstain.core.inference.to_disk.batch import PositionPredicted
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.spec import OutputSpec
from napari_vstain.core.progress import Cancelled, CancelToken, Progress

from .networks import TinyUNet, TwoHeads, relative_rms
from .plates import KEYS, Counting, plate, predictor_of, workspace_with


@pytest.fixture
def workspace(tmp_path):
    return workspace_with(tmp_path / "work")


def expected_of(workspace, key, t, predictor=None, dataset="noise"):
    position = open_dataset(workspace.dataset(dataset)).position(key)
    return (predictor or predictor_of()).predict(position.read(["Phase"], t=t))["stain"]


def settings_of(**more):
    return PredictSettings(**{"dataset": "noise", "experiment": "test", "tile_px": 512, **more})


def test_a_plate_is_predicted_in_the_targets_units_with_the_datasets_scale(workspace):
    result = run(settings_of(), workspace, Progress(), predictor=predictor_of())
    assert result.store == workspace.experiment("test").evaluation / "predictions.zarr"
    assert result.positions == KEYS
    predicted = open_dataset(result.store)
    assert tuple(predicted.positions) == KEYS
    for key in KEYS:
        position = predicted.position(key)
        assert position.channels == ("stain0_prediction",)
        assert position.dtype == np.float32
        assert position.shape == (2, 1, 2, 600, 1100)
        assert position.spacing_um == (2.0, 0.5, 0.25)
        assert position.translation_um == (1.0, 2.0, 3.0)
        assert position.contrast_limits("stain0_prediction") == (500, 2500)
        assert position.pixels.chunks[-2:] == (512, 512)
        for t in range(2):
            stored = position.read(["stain0_prediction"], t=t)
            assert relative_rms(stored, expected_of(workspace, key, t)) <= 1e-6
        said = recorded(position, "prediction")
        assert said["complete"] is True
        assert said["fingerprint"] == predictor_of().spec.fingerprint
        assert said["tiles_done"] == "0-23"
        assert said["settings"]["dataset"] == workspace.dataset("noise").stem


def test_datasets_of_equal_positions_keep_their_predictions_apart(workspace):
    plate(workspace.new_dataset("other"), seed=7)
    predictor = predictor_of()
    results = [
        run(settings_of(dataset=name), workspace, Progress(), predictor=predictor) for name in ("noise", "other")
    ]
    names = [workspace.dataset(name).stem for name in ("noise", "other")]
    assert [result.store.name for result in results] == ["predictions.zarr", f"predictions_{names[1]}.zarr"]
    for name, result in zip(("noise", "other"), results, strict=True):
        stored = open_dataset(result.store).position(KEYS[0]).read(["stain0_prediction"])
        assert relative_rms(stored, expected_of(workspace, KEYS[0], 0, dataset=name)) <= 1e-6
        again = run(settings_of(dataset=name), workspace, Progress(), predictor=predictor)
        assert (again.store, again.megapixels) == (result.store, 0)


def test_a_model_names_the_store_by_the_dataset_it_was_not_trained_on(workspace):
    trained_elsewhere = predictor_of()
    trained_on = {"training": Training(dataset="2026_01_01_cells")}
    trained_elsewhere.runner.spec = trained_elsewhere.spec.model_copy(update=trained_on)
    result = run(settings_of(positions=KEYS[:1]), workspace, Progress(), predictor=trained_elsewhere)
    assert result.store.name == f"predictions_{workspace.dataset('noise').stem}.zarr"


def test_predictions_of_another_dataset_are_replaced_only_when_told(workspace, tmp_path):
    wanted = {"positions": KEYS[:1], "output": tmp_path / "mine.zarr"}
    result = run(settings_of(**wanted), workspace, Progress(), predictor=predictor_of())
    before = open_dataset(result.store).position(KEYS[0]).image().compute()
    elsewhere = str(plate(tmp_path / workspace.dataset("noise").name, seed=3))
    with pytest.raises(DatasetError, match=r"holds predictions of .*noise, not of .*noise\.zarr.*another output"):
        run(settings_of(dataset=elsewhere, **wanted), workspace, Progress(), predictor=predictor_of())
    np.testing.assert_array_equal(open_dataset(result.store).position(KEYS[0]).image().compute(), before)
    told = settings_of(dataset=elsewhere, existing="overwrite", **wanted)
    run(told, workspace, Progress(), predictor=predictor_of())
    expected = predictor_of().predict(open_dataset(elsewhere).position(KEYS[0]).read(["Phase"]))["stain"]
    assert relative_rms(open_dataset(result.store).position(KEYS[0]).read(["stain0_prediction"]), expected) <= 1e-6


def test_the_settings_that_are_saved_name_everything_and_predict_the_same_again(workspace):
    result = run(settings_of(slices=(0, 1)), workspace, Progress(), predictor=predictor_of())
    assert result.config == result.store.with_suffix(".yml")
    again = PredictSettings.load(result.config)
    assert (again.dataset, again.positions) == (workspace.dataset("noise").stem, KEYS)
    assert again.sources == {"Phase": "Phase"}
    assert (again.engine, again.device, again.precision) == ("torch", "cpu", "float32")
    assert again.threads is not None
    assert again.pixels_at_once is not None
    assert again.slices == (0, 1)
    predictor, engine = stopping(None)
    assert run(again, workspace, Progress(), predictor=predictor).store == result.store
    assert engine.runs == []
    elsewhere = run(
        again.model_copy(update={"output": workspace.root / "other.zarr"}), workspace, Progress(), predictor=predictor
    )
    for key in KEYS:
        first, second = (
            open_dataset(store).position(key).image().compute() for store in (result.store, elsewhere.store)
        )
        np.testing.assert_array_equal(first, second)


def test_the_tile_size_makes_no_difference(workspace):
    small = run(
        settings_of(tile_px=512, output=workspace.root / "small.zarr"), workspace, Progress(), predictor=predictor_of()
    )
    large = run(
        settings_of(tile_px=None, output=workspace.root / "large.zarr"), workspace, Progress(), predictor=predictor_of()
    )
    for key in KEYS:
        a, b = (open_dataset(result.store).position(key).image().compute() for result in (small, large))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_only_what_is_asked_is_predicted(workspace):
    settings = settings_of(positions=("B/3/0",), region=(10, 600, 20, 700), slices=(1, 2), times=(0, 1))
    result = run(settings, workspace, Progress(), predictor=predictor_of())
    position = open_dataset(result.store).position("B/3/0")
    assert tuple(open_dataset(result.store).positions) == ("B/3/0",)
    stored = position.image().compute()
    assert recorded(position, "prediction")["complete"] is False
    assert recorded(position, "prediction")["tiles_done"] == "7"
    expected = expected_of(workspace, "B/3/0", 0)
    np.testing.assert_allclose(stored[0, :, 1, :512, 512:1024], expected[:, 1, :512, 512:1024], rtol=0, atol=1e-6)
    stored[0, :, 1, :512, 512:1024] = 0
    assert not stored.any()


def stopping(at):
    engine = Counting(TinyUNet(depth=1), at, lambda token: token.cancel())
    predictor = predictor_of()
    predictor.engine = predictor.runner.engine = engine
    return predictor, engine


@pytest.mark.parametrize("at", [0, 1, 7, 30])
def test_a_stopped_batch_goes_on_without_computing_anything_twice(workspace, at, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED_S", 0)  # what was written a moment ago may still be changed unseen
    predictor, engine = stopping(at)
    with pytest.raises(Cancelled) as stopped:
        run(settings_of(), workspace, Progress(), predictor=predictor)
    assert stopped.value.kept.store.exists()
    done = len(engine.runs)
    predictor, engine = stopping(None)
    result = run(settings_of(), workspace, Progress(), predictor=predictor)
    assert done + len(engine.runs) == 2 * 2 * 2 * 6
    for key in KEYS:
        stored = open_dataset(result.store).position(key).read(["stain0_prediction"], t=1)
        assert relative_rms(stored, expected_of(workspace, key, 1)) <= 1e-6


def test_a_finished_batch_computes_nothing(workspace):
    run(settings_of(), workspace, Progress(), predictor=predictor_of())
    predictor, engine = stopping(None)
    result = run(settings_of(), workspace, Progress(), predictor=predictor)
    assert engine.runs == []
    assert result.positions == KEYS
    assert result.megapixels == 0


def test_another_models_predictions_stay_unless_they_are_to_be_overwritten(workspace):
    run(settings_of(positions=KEYS[:1]), workspace, Progress(), predictor=predictor_of())
    other = predictor_of(network=TinyUNet(depth=1, seed=5))
    other.model = other.model.model_copy(update={"weights": "1" * 16})
    with pytest.raises(DatasetError, match="A/1/0 by another model; choose another output, or overwrite"):
        run(settings_of(existing="resume"), workspace, Progress(), predictor=other)
    result = run(settings_of(existing="skip"), workspace, Progress(), predictor=other)
    first, second = (open_dataset(result.store).position(key).read(["stain0_prediction"]) for key in KEYS)
    assert relative_rms(first, expected_of(workspace, KEYS[0], 0)) <= 1e-6
    assert relative_rms(second, expected_of(workspace, KEYS[1], 0, other)) <= 1e-6
    result = run(settings_of(existing="overwrite"), workspace, Progress(), predictor=other)
    first = open_dataset(result.store).position(KEYS[0]).read(["stain0_prediction"])
    assert relative_rms(first, expected_of(workspace, KEYS[0], 0, other)) <= 1e-6


def test_overwrite_computes_all_again(workspace):
    run(settings_of(), workspace, Progress(), predictor=predictor_of())
    predictor, engine = stopping(None)
    run(settings_of(existing="overwrite"), workspace, Progress(), predictor=predictor)
    assert len(engine.runs) == 2 * 2 * 2 * 6


def test_predictions_of_other_targets_are_not_mixed_with(workspace):
    run(settings_of(), workspace, Progress(), predictor=predictor_of())
    other = predictor_of(network=TinyUNet(depth=1, channels_out=2), channels_out=2)
    with pytest.raises(DatasetError, match="overwrite them"):
        run(settings_of(), workspace, Progress(), predictor=other)
    result = run(settings_of(existing="overwrite"), workspace, Progress(), predictor=other)
    assert open_dataset(result.store).channels == ("stain0_prediction", "stain1_prediction")


def test_a_full_disk_is_said_and_the_batch_goes_on_later(workspace, monkeypatch):
    write = position_store.put_tile
    written = []

    def full(*arguments):
        if len(written) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(position_store, "put_tile", full)
    with pytest.raises(StorageError, match="the disk is full"):
        run(settings_of(), workspace, Progress(), predictor=predictor_of())
    monkeypatch.setattr(position_store, "put_tile", write)
    predictor, engine = stopping(None)
    result = run(settings_of(), workspace, Progress(), predictor=predictor)
    assert len(engine.runs) == 48 - 5
    stored = open_dataset(result.store).position(KEYS[0]).read(["stain0_prediction"])
    assert relative_rms(stored, expected_of(workspace, KEYS[0], 0)) <= 1e-6


def test_a_missing_channel_is_said_before_anything_is_written(workspace):
    predictor = predictor_of()
    predictor.runner.spec = predictor.spec.model_copy(update={"sources": ("DIC",)})
    with pytest.raises(ChannelError, match="DIC"):
        run(settings_of(), workspace, Progress(), predictor=predictor)
    assert not workspace.experiment("test").evaluation.exists()


def test_a_channel_of_another_name_can_stand_in(workspace):
    result = run(settings_of(sources={"Phase": "Extra"}), workspace, Progress(), predictor=predictor_of())
    position = open_dataset(workspace.dataset("noise")).position(KEYS[0])
    expected = predictor_of().predict(position.read(["Extra"]))["stain"]
    assert relative_rms(open_dataset(result.store).position(KEYS[0]).read(["stain0_prediction"]), expected) <= 1e-6
    with pytest.raises(SettingsError, match="takes Phase"):
        run(settings_of(sources={"DIC": "Extra"}), workspace, Progress(), predictor=predictor_of())


def test_pixels_without_a_value_are_reported(tmp_path):
    workspace = workspace_with(tmp_path, keys=KEYS[:1], shape=(1, 2, 1, 600, 600))
    position = open_dataset(workspace.dataset("noise")).position(KEYS[0])
    import zarr

    zarr.open_array(position.folder / "0", mode="r+")[0, 1, 0, 510:514, 7] = np.nan
    result = run(settings_of(), workspace, Progress(), predictor=predictor_of())
    assert "A/1/0: 4 pixels are NaN or infinite in a source; they are NaN in the prediction" in result.warnings
    stored = open_dataset(result.store).position(KEYS[0])
    assert np.isnan(stored.read(["stain0_prediction"])).sum() == 4
    assert recorded(stored, "prediction")["warnings"] == list(result.warnings)


@pytest.mark.parametrize("level", ["fov", "timepoint"])
def test_images_are_normalized_by_numbers_of_their_own(workspace, level):
    predictor = predictor_of(source_normalization={"level": level})
    result = run(settings_of(region=(0, 0, 100, 100)), workspace, Progress(), predictor=predictor)
    from napari_vstain.core.preprocessing import statistics_of

    position = open_dataset(workspace.dataset("noise"), workspace).position(KEYS[1])
    numbers = {"Phase": statistics_of(position, "Phase", level, 1)}
    expected = predictor.predict(position.read(["Phase"], t=1), statistics=numbers)["stain"]
    stored = open_dataset(result.store).position(KEYS[1]).read(["stain0_prediction"], t=1)
    np.testing.assert_allclose(stored[:, :, :100, :100], expected[:, :, :100, :100], rtol=0, atol=1e-6)


def test_predictions_are_saved_as_ome_tiff_too(workspace):
    result = run(settings_of(ome_tiff=True), workspace, Progress(), predictor=predictor_of())
    assert [path.name for path in result.tiffs] == ["A_1_0.ome.tif", "B_3_0.ome.tif"]
    with tifffile.TiffFile(result.tiffs[0]) as tiff:
        assert tiff.is_ome
        stored = open_dataset(result.store).position(KEYS[0]).image().compute()
        np.testing.assert_array_equal(tiff.asarray(), stored[:, 0])
        assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata
        assert 'Name="stain0_prediction"' in tiff.ome_metadata


def test_an_ome_tiff_says_what_it_was_predicted_by_and_from(workspace):
    result = run(settings_of(ome_tiff=True), workspace, Progress(), predictor=predictor_of())
    said = recorded(open_dataset(result.store).position(KEYS[0]), "prediction")
    with tifffile.TiffFile(result.tiffs[0]) as tiff:
        image = ElementTree.fromstring(tiff.ome_metadata).find("{*}Image")
    origin = yaml.safe_load(image.findtext("{*}Description"))
    assert (origin["experiment"], origin["dataset"]) == ("test", workspace.dataset("noise").stem)
    assert (origin["position"], origin["sources"]) == (KEYS[0], ["Phase"])
    assert origin["model"] == predictor_of().spec.fingerprint
    assert origin["pixels"] == said["input"]["content"] != ""
    assert origin["prediction"] == made_from(said) != ""
    assert origin["computed_by"] == said["computed_by"]


def test_progress_adds_up_and_positions_are_announced(workspace):
    class Sink:
        reports, items = [], []

        def reported(self, report):
            self.reports.append(report)

        def produced(self, item):
            self.items.append(item)

    run(settings_of(), workspace, Progress(CancelToken(), Sink()), predictor=predictor_of())
    last = Sink.reports[-1]
    assert last.unit == "Mpx"
    assert last.done == pytest.approx(last.total) == pytest.approx(2 * 2 * 2 * 600 * 1100 / 1e6)
    assert [item.key for item in Sink.items if isinstance(item, PositionPredicted)] == list(KEYS)


@pytest.mark.parametrize(
    ("more", "blocks"), [({"dimensions": "2.5D", "z_window": 3}, "0-13"), ({"dimensions": "3D", "halo_z": 3}, "0-1")]
)
def test_stacks_are_predicted_and_gone_on_with(tmp_path, more, blocks):
    workspace = workspace_with(tmp_path, keys=KEYS[:1], shape=(1, 2, 7, 40, 600))
    network = TinyUNet(depth=1, dimensions=3)
    predictor = predictor_of(network=network, **more)
    expected = expected_of(workspace, KEYS[0], 0, predictor_of(network=network, **more))
    predictor.engine = predictor.runner.engine = Counting(network, 1, lambda token: token.cancel())
    with pytest.raises(Cancelled):
        run(settings_of(z_step=1), workspace, Progress(), predictor=predictor)
    result = run(settings_of(z_step=1), workspace, Progress(), predictor=predictor_of(network=network, **more))
    position = open_dataset(result.store).position(KEYS[0])
    assert recorded(position, "prediction")["tiles_done"] == blocks
    assert position.shape == (1, 1, 7, 40, 600)
    assert relative_rms(position.read(["stain0_prediction"]), expected) <= 1e-6


def test_outputs_of_another_scale_keep_their_place(tmp_path):
    workspace = workspace_with(tmp_path, keys=KEYS[:1], shape=(1, 2, 1, 600, 700))
    outputs = (OutputSpec(task="small", channels=("a", "b"), scale=(1, 0.5, 0.5)),)
    predictor = predictor_of(network=TwoHeads(), outputs=outputs)
    result = run(settings_of(), workspace, Progress(), predictor=predictor)
    position = open_dataset(result.store).position(KEYS[0])
    assert position.shape == (1, 2, 1, 300, 350)
    assert position.spacing_um == (2.0, 1.0, 0.5)
    assert position.translation_um == (1.0, 2.25, 3.125)
    source = open_dataset(workspace.dataset("noise")).position(KEYS[0]).read(["Phase"])
    expected = predictor_of(network=TwoHeads(), outputs=outputs).predict(source)["small"]
    assert relative_rms(position.read(["a_prediction", "b_prediction"]), expected) <= 1e-6


KILLED = """
import sys, pathlib
sys.path.insert(0, {tests!r})
from core.inference.plates import predictor_of
from core.inference.networks import TinyUNet, TorchEngine
import napari_vstain.core.inference.stage as stage
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

class Slow(TorchEngine):
    def run(self, batch, token=None):
        print("tile", flush=True)
        return super().run(batch, token)

predictor = predictor_of()
predictor.engine = predictor.runner.engine = Slow(TinyUNet(depth=1))
settings = stage.PredictSettings(dataset="noise", experiment="test", tile_px=512)
stage.run(settings, Workspace.open({root!r}), Progress(), predictor=predictor)
"""


@pytest.mark.parametrize("after", [3, 17])
def test_killed_in_the_middle_it_goes_on_and_equals_an_uninterrupted_run(workspace, after):
    from pathlib import Path

    script = KILLED.format(tests=str(Path(__file__).parents[2]), root=str(workspace.root))
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    begun = 0
    while begun < after and child.stdout.readline():
        begun += 1
    os.kill(child.pid, signal.SIGKILL)
    begun += len(child.stdout.readlines())
    child.stdout.close()
    child.wait()
    predictor, engine = stopping(None)
    result = run(settings_of(), workspace, Progress(), predictor=predictor)
    computed_twice = begun + len(engine.runs) - 48
    assert 0 <= computed_twice <= 4
    for key in KEYS:
        for t in range(2):
            stored = open_dataset(result.store).position(key).read(["stain0_prediction"], t=t)
            assert relative_rms(stored, expected_of(workspace, key, t)) <= 1e-6
