"""A position that cannot be predicted is named and left out; the others are predicted as if it were not there."""

import shutil

import numpy as np
import pytest

from napari_vstain.core.data import create_plate, open_dataset, recorded
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.models import Normalization
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

from .networks import noise, relative_rms
from .plates import predictor_of

KEYS = ("A/1/0", "A/1/1", "A/2/0")
BAD = "A/1/1"
SHAPE = (2, 2, 1, 64, 80)


def empty(path):
    pixels(path)[:, 1] = 0


def nearly_constant(path):
    pixels(path)[:, 1] = 1e6
    pixels(path)[0, 1, 0, 0, 0] = 1e6 + 1


def not_finite(path):
    pixels(path)[:, 1] = np.nan


def not_there(path):
    shutil.rmtree(path / BAD)


def damaged(path):
    for chunk in (path / BAD / "0").rglob("*"):
        if chunk.is_file() and chunk.name != "zarr.json":
            chunk.write_bytes(b"broken")


def pixels(path):
    import zarr

    return zarr.open_array(path / BAD / "0", mode="r+")


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "work")
    with create_plate(made.new_dataset("noise"), ["Extra", "Phase"]) as writer:
        for index, key in enumerate(KEYS):
            writer.add_position(key, SHAPE, np.float32, (2.0, 0.5, 0.25))[:] = noise(SHAPE, index)
    return made


def predict(workspace, level="fov", **more):
    predictor = predictor_of()
    normalization = Normalization(level=level, subtract="median", divide="iqr")
    known = {"source_normalization": normalization, "spacing_um": (2.0, 0.5, 0.25)}
    predictor.runner.spec = predictor.spec.model_copy(update=known)
    predictor.model = predictor.spec
    settings = PredictSettings(**{"dataset": "noise", "experiment": "test", **more})
    return run(settings, workspace, Progress(), predictor=predictor)


@pytest.mark.parametrize("level", ["fov", "timepoint"])
@pytest.mark.parametrize("spoil", [empty, nearly_constant, not_finite, not_there, damaged])
def test_what_cannot_be_predicted_is_named_and_the_others_are_predicted(workspace, spoil, level):
    whole = predict(workspace, level, output=workspace.root / "whole.zarr")
    spoil(workspace.dataset("noise"))
    result = predict(workspace, level)
    assert result.positions == ("A/1/0", "A/2/0")
    assert [one.position for one in result.left_out] == [BAD]
    for key in result.positions:
        made, expected = (open_dataset(store).position(key).read(["stain0_prediction"]) for store in
                          (result.store, whole.store))  # fmt: skip
        assert relative_rms(made, expected) <= 1e-6
        assert recorded(open_dataset(result.store).position(key), "prediction")["complete"]
    with pytest.raises(DatasetError):
        predict(workspace, level, strict=True, output=workspace.root / "strict.zarr")
    with pytest.raises(DatasetError, match=BAD):
        predict(workspace, level, positions=(BAD,), output=workspace.root / "alone.zarr")


def test_a_position_that_is_damaged_where_no_statistics_look_is_given_up_midway(workspace):
    from napari_vstain.core.preprocessing import PreprocessSettings
    from napari_vstain.core.preprocessing import run as preprocess

    preprocess(PreprocessSettings(dataset="noise"), workspace, Progress())
    damaged(workspace.dataset("noise"))
    result = predict(workspace)
    assert result.positions == ("A/1/0", "A/2/0")
    assert [one.position for one in result.left_out] == [BAD] and "cannot be read" in result.left_out[0].reason


def test_a_position_without_the_channel_is_named(workspace):
    with create_plate(workspace.dataset("noise"), ["Extra", "Phase"], existing="extend"):
        pass
    path = workspace.dataset("noise") / BAD / "zarr.json"
    path.write_text(path.read_text().replace('"Phase"', '"DIC"'))
    result = predict(workspace)
    assert [str(one) for one in result.left_out] == ["A/1/1 has no Phase"]


def test_resampling_takes_the_voxel_size_that_most_positions_have(workspace):
    path = workspace.dataset("noise") / BAD / "zarr.json"
    path.write_text(path.read_text().replace("0.25", "0.3"))
    result = predict(workspace, "dataset", resample=True)
    assert [one.position for one in result.left_out] == [BAD] and "voxels of" in result.left_out[0].reason
