"""Positions of different brightness count alike: chosen from their contrast, said, and obeyed when set."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_vstain.core.data import open_dataset
from napari_vstain.core.data.plate import create_plate
from napari_vstain.core.errors import DatasetError, SettingsError
from napari_vstain.core.evaluation import EvaluateSettings
from napari_vstain.core.evaluation import run as evaluate
from napari_vstain.core.inference import PredictSettings
from napari_vstain.core.inference import run as predict
from napari_vstain.core.models.files.checkpoint import load_checkpoint
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import resolve
from napari_vstain.core.simulation import simulate_plate
from napari_vstain.core.training import TrainForm, TrainSettings, run
from napari_vstain.core.training.data import PatchDataModule
from napari_vstain.core.training.targets import Brightness, TargetNormalization, brightness, choose
from napari_vstain.core.workspace import Workspace

from .conftest import KEYS, changed, images, quick, write_plate

WELLS = ("A/1", "B/2")


def cells(share, gain, seed=0, count=10_000):
    """Return the values of an image of which `share` is cells."""
    random = np.random.default_rng(seed)
    inside = random.random(count) < share
    return gain * (10 + random.normal(0, 1, count) + inside * random.normal(40, 8, count))


@settings(max_examples=20)
@given(share=st.floats(0.01, 0.5), gain=st.floats(1e-3, 1e3))
def test_contrast_is_brightness_however_many_cells_there_are(share, gain):
    found = brightness(cells(share, gain))
    assert found.contrast == pytest.approx(40 * gain, rel=0.25)
    assert found.background == pytest.approx(10 * gain, rel=0.25)


def test_one_hot_pixel_is_no_contrast():
    values = cells(0.1, 1)
    values[0] = 65535
    assert brightness(values).contrast == pytest.approx(40, rel=0.25)


@pytest.mark.parametrize(
    ("contrasts", "backgrounds", "level", "said"),
    [
        ((1, 1.5, 0.8), (5, 5, 5), "dataset", "contrast of Nuclei differs 1.88-fold"),
        ((0.1, 1, 10), (5, 5, 5), "fov", "contrast of Nuclei differs 100-fold"),
        ((1, 1, 4), (5, 5, 5), "fov", "contrast of Nuclei differs 4-fold"),
        ((1, 1, 1.2), (5, 5, 25), "fov", "background of Nuclei differs between them by 20 times its contrast"),
        ((3,), (5,), "dataset", "as there is one"),
    ],
)
def test_the_choice_follows_the_brightness_and_names_it(contrasts, backgrounds, level, said):
    alike = {str(n): Brightness(1, 1) for n in range(len(contrasts))}
    nuclei = {str(n): Brightness(*pair) for n, pair in enumerate(zip(backgrounds, contrasts, strict=True))}
    made = choose(TargetNormalization(), {"Flat": alike, "Nuclei": nuclei})
    assert made.normalization.level == level
    assert said in made.sentence and ("position by position" in made.sentence) == (level == "fov")


@pytest.mark.parametrize(
    "values",
    [
        {"level": "fixed"},
        {"fixed": {"Nuclei": (0, 1)}},
        {"level": "fixed", "fixed": {"Nuclei": (0, 0)}},
        {"level": "fixed", "fixed": {"Nuclei": (float("nan"), 1)}},
    ],
)
def test_fixed_numbers_are_given_and_used_or_refused(values):
    with pytest.raises(SettingsError):
        TargetNormalization.parse(values)


def normalized(workspace, **values):
    """Return the data, and every training position's normalized target."""
    data = PatchDataModule(
        "plate", ["Phase"], ["Nuclei"], list(KEYS[:2]), [KEYS[2]], target_normalization=TargetNormalization(**values)
    )
    data.patches = data.patches.model_copy(update={"size_px": 16})
    data.workspace = workspace
    data.setup()
    return data, [stack.pixels[1] for stack in data.training.stacks]


@pytest.fixture
def uneven(tmp_path):
    made = Workspace.create(tmp_path / "uneven")
    pixels = {key: images(index) for index, key in enumerate(KEYS)}
    pixels[KEYS[1]][:, 1] *= 20
    write_plate(made.datasets / "2026_01_01_plate.zarr", pixels)
    return made


def test_each_level_is_obeyed(uneven):
    data, targets = normalized(uneven, level="fov")
    assert [target.mean() for target in targets] == pytest.approx([0, 0], abs=0.05)
    assert [target.std() for target in targets] == pytest.approx([1, 1], abs=0.05)
    assert data.scale.by_position
    assert normalized(uneven)[0].target_normalization.level == "fov"
    data, targets = normalized(uneven, level="dataset")
    assert np.concatenate(targets).std() == pytest.approx(1, abs=0.05)
    assert targets[1].std() > 10 * targets[0].std()
    raw = open_dataset(data.dataset.path).position(KEYS[0]).read(["Nuclei"])
    _, targets = normalized(uneven, level="fixed", fixed={"Nuclei": (300, 25)})
    np.testing.assert_allclose(targets[0], (raw[0] - 300) / 25, rtol=1e-5)
    with pytest.raises(SettingsError, match="target 'Nuclei': has no fixed offset"):
        normalized(uneven, level="fixed", fixed={"Other": (300, 25)})


def test_the_units_of_a_prediction_are_those_of_the_typical_position(uneven):
    data, _ = normalized(uneven)
    own = [open_dataset(data.dataset.path).position(key).read(["Nuclei"]) for key in KEYS[:2]]
    assert data.statistics["Nuclei"].mean == pytest.approx(np.median([image.mean() for image in own]), rel=0.01)
    assert data.statistics["Nuclei"].std == pytest.approx(np.median([image.std() for image in own]), rel=0.05)


def test_the_choice_is_saved_said_and_written_into_the_model(uneven):
    result = run(quick(epochs=1, train=list(KEYS[:2]), validate=[KEYS[2]], test=[]), uneven, Progress())
    assert "position by position" in result.notes[0] and "Nuclei" in result.notes[0]
    assert result.spec.training.target_normalization == result.notes[0]
    assert result.spec.target_normalization.level == "fov"
    saved = TrainSettings.load(result.run.config).data["init_args"]["target_normalization"]
    assert saved["level"] == "fov"
    again = run(TrainSettings.load(result.run.config), uneven, Progress())
    assert again.spec.weights == result.spec.weights


def test_fixed_numbers_bring_predictions_back(workspace):
    settings = changed(
        quick(epochs=1), "data.init_args.target_normalization", {"level": "fixed", "fixed": {"Nuclei": [300, 25]}}
    )
    spec, _ = load_checkpoint(run(settings, workspace, Progress()).checkpoint)
    assert spec.target_offset_and_divisor("Nuclei") == (300, 25)


def scores(folder, gains):
    """Return Pearson of model and baseline on unseen fields of a small plate whose wells are stained so brightly."""
    workspace = Workspace.create(folder)
    simulated = open_dataset(simulate_plate(folder / "plain.zarr", 0, WELLS, fields=3, size=128))
    with create_plate(workspace.datasets / "p.zarr", simulated.channels) as plate:
        for key, position in simulated.positions.items():
            pixels = position.read(position.channels)[None].astype(np.float32)
            pixels[:, 1:] *= gains[key.startswith("B")]
            plate.add_position(key, pixels.shape, pixels.dtype, (1, 0.5, 0.5))[...] = pixels
    train, validate, test = ([f"{well}/{field}" for well in WELLS] for field in range(3))
    settings = TrainSettings.quick(
        "e", "p", ["Phase"], ["Nuclei"], train=train, validate=validate, test=test, epochs=4, batches_per_epoch=15,
        patch_px=64, batch_size=4, features=[8, 16], learning_rate=5e-3, threads=1,
    )  # fmt: skip
    run(settings, workspace, Progress())
    where = {"experiment": "e", "dataset": "p", "positions": test}
    predict(PredictSettings.parse({**where, "engine": "torch"}), workspace, Progress())
    table = evaluate(EvaluateSettings.parse(where), workspace, Progress()).table
    table = table[(table["level"] == "volume") & (table["mask"] == "whole")]
    return table.groupby("predictor")["pearson"].mean()


def test_wells_of_other_brightness_are_learned_as_well_as_equal_ones_by_model_and_baseline(tmp_path):
    equal, scaled = scores(tmp_path / "equal", (1, 1)), scores(tmp_path / "scaled", (0.1, 10))
    assert equal["model"] > 0.5
    assert scaled["model"] > equal["model"] - 0.02
    assert scaled["baseline"] == pytest.approx(equal["baseline"], abs=0.02)


def test_positions_that_cannot_be_used_are_named_and_left_out(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    good = {key: images(index) for index, key in enumerate(KEYS)}
    with create_plate(workspace.datasets / "plate.zarr", ["Phase", "Nuclei", "Flat"]) as plate:
        made = {
            **{key: (image, 0.5) for key, image in good.items()},
            "B/1/0": (good[KEYS[0]] * 0, 0.5),
            "B/1/1": (good[KEYS[0]], 0.65),
            "B/1/2": ((good[KEYS[0]] / 4).astype(np.uint8), 0.5),
            "B/1/3": (good[KEYS[0]][..., :8, :8], 0.5),
        }
        for key, (image, size) in made.items():
            plate.add_position(key, image.shape, image.dtype, (1, size, size))[...] = image
    settings = quick(epochs=1, train=[KEYS[0], "B/1/0", "B/1/1", "B/1/2", "B/1/3"])
    result = run(settings, workspace, Progress())
    said = {one.position: one.reason for one in result.left_out}
    assert said == {
        "B/1/0": "is empty in Phase",
        "B/1/1": "has voxels of 1 x 0.65 x 0.65 µm (Z, Y, X), the others 1 x 0.5 x 0.5 µm",
        "B/1/2": "has pixels of type uint8, the others float32",
        "B/1/3": "is 8 x 8 px, smaller than a patch of 16 px",
    }
    assert result.spec.training.positions.train == (KEYS[0],)
    assert result.remarks[-1].startswith("Careful: Used 3 of 7 positions: B/1/")
    with pytest.raises(DatasetError, match="position 'B/1/"):
        run(changed(settings, "strict", True), workspace, Progress())
    with pytest.raises(DatasetError, match="position 'B/1/0': is empty in Phase; choose"):
        run(changed(settings, "data.init_args.train", ["B/1/0"]), workspace, Progress())
    automatic = changed(
        settings, "data.init_args", {**settings.data["init_args"], "train": [], "validate": [], "test": []}
    )
    assert {one.position for one in run(automatic, workspace, Progress()).left_out} == set(said)


def test_a_position_that_is_not_on_disk_is_named_and_left_out(workspace):
    shutil.rmtree(workspace.datasets / "2026_01_01_plate.zarr" / KEYS[1])
    result = run(quick(epochs=1, train=list(KEYS[:2]), validate=[KEYS[2]], test=[]), workspace, Progress())
    assert [one.position for one in result.left_out] == [KEYS[1]]
    assert result.spec.training.positions.train == (KEYS[0],)


def test_of_a_movie_by_time_points_only_the_dead_ones_are_left_out(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    movies = {key: images(index, (3, 1, 48, 64)) for index, key in enumerate(KEYS)}
    movies[KEYS[0]][1, 0] = 0
    write_plate(workspace.datasets / "plate.zarr", movies)
    by_time = changed(quick(epochs=1), "data.init_args.source_normalization", {"level": "timepoint"})
    result = run(changed(by_time, "data.init_args.target_normalization", {"level": "timepoint"}), workspace, Progress())
    assert result.left_out == ()
    assert result.notes[1:] == (f"Time 1 of {KEYS[0]} is left out: it is empty in Phase.",)


def test_a_sparse_field_does_not_ruin_what_the_network_knows_of_its_input(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    pixels = {key: images(index) for index, key in enumerate(KEYS)}
    pixels[KEYS[0]][:, 0, ..., 8:] = 0
    write_plate(workspace.datasets / "plate.zarr", pixels)
    settings = quick(epochs=1, train=list(KEYS[:2]), validate=[KEYS[2]], test=[])
    by_iqr = {"level": "fov", "subtract": "median", "divide": "iqr"}
    result = run(changed(settings, "data.init_args.source_normalization", by_iqr), workspace, Progress())
    assert result.left_out == ((KEYS[0], "has an interquartile range of 0 in Phase"),)
    _, network = load_checkpoint(result.checkpoint)
    assert max(float(value.max()) for name, value in network.state_dict().items() if "running_var" in name) < 1e3


def test_the_command_line_sets_the_level():
    form = TrainForm(dataset="d", experiment="e", sources=("a",), targets=("b",), normalize_targets="fov", strict=True)
    values = TrainSettings.parse(resolve(form.values(), []))
    assert values.data["init_args"]["target_normalization"]["level"] == "fov"
    assert values.strict
