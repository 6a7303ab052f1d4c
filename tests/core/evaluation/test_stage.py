"""Stage 4: predictions against targets in a tidy table, beside the trivial baseline; bad input is one sentence."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from napari_vstain.core.data import create_plate, open_dataset, record, recorded
from napari_vstain.core.errors import DatasetError, WorkspaceError
from napari_vstain.core.evaluation import COLUMNS, METRICS, EvaluateSettings, fit_baseline, image_metrics, run
from napari_vstain.core.evaluation.table import read_table
from napari_vstain.core.models import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.models.files.checkpoint import load_spec, save_checkpoint
from napari_vstain.core.models.networks import build_network
from napari_vstain.core.progress import Cancelled, CancelToken, Progress
from napari_vstain.core.workspace import Workspace

KEYS = {"A/1/0": "train", "A/1/1": "train", "A/2/0": "validate", "B/1/0": "test"}
TARGETS = ("Nuclei", "Membrane")
SHAPE = (2, 3, 2, 48, 56)
NETWORK = {"class_path": "napari_vstain.core.models.unet.UNet",
           "init_args": {"in_channels": 1, "out_channels": 2, "features": [2, 4]}}  # fmt: skip


def pixels(key, shape=SHAPE):
    rng = np.random.default_rng(sum(map(ord, key)))
    source = gaussian_filter(rng.normal(size=(shape[0], *shape[2:])), (0, 0, 2, 2)) * 5000 + 8000
    nuclei = source * 0.5 + rng.normal(size=source.shape) * 50
    membrane = 9000 - source * 0.2 + rng.normal(size=source.shape) * 90
    return np.stack([source, nuclei, membrane], axis=1).astype(np.uint16)


def predicted(key):
    truth = pixels(key)[:, 1:].astype(np.float32)
    return 0.9 * truth + 40 + np.random.default_rng(7).normal(size=truth.shape).astype(np.float32) * 30


def make_dataset(path, keys=KEYS, channels=("Phase", *TARGETS), change=lambda key, stack: stack):
    with create_plate(path, channels) as plate:
        for key in keys:
            stack = change(key, pixels(key)[:, : len(channels)])
            plate.add_position(key, stack.shape, stack.dtype, (2, 0.5, 0.5))[:] = stack
    return path


def make_run(workspace, seed=0, dataset="cells"):
    import torch

    torch.manual_seed(seed)
    statistics = Statistics(mean=1, std=2, median=1, iqr=2)
    spec = ModelSpec(
        sources=("Phase",),
        outputs=(OutputSpec(channels=TARGETS),),
        statistics=dict.fromkeys(("Phase", *TARGETS), statistics),
        config=NETWORK,
        training={
            "dataset": dataset,
            "positions": {part: [key for key, own in KEYS.items() if own == part] for part in set(KEYS.values())},
        },
    )
    chosen = workspace.experiment("first").new_run()
    save_checkpoint(chosen.checkpoints / "best.ckpt", spec, build_network(NETWORK, trusted=True))
    return chosen


def predict(run, keys=KEYS, path=None, complete=True, change=lambda key, stack: stack):
    """Write what a prediction stage would: the arrays, and the record that says by which model and how far."""
    predict_with(load_spec(run.checkpoint).fingerprint, path or run.experiment.predictions(), keys, complete, change)


def predict_with(fingerprint, path, keys=KEYS, complete=True, change=lambda key, stack: stack):
    with create_plate(path, [f"{target}_prediction" for target in TARGETS], existing="extend") as plate:
        for key in keys:
            stack = change(key, predicted(key))
            plate.add_position(key, stack.shape, np.float32)[:] = stack
            said = {"fingerprint": fingerprint, "complete": complete, "details": {"sources": ["Phase"]}}
            record(open_dataset(path).position(key), prediction=said)


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "workspace")
    make_dataset(made.new_dataset("cells"))
    return made


@pytest.fixture
def first(workspace):
    made = make_run(workspace)
    predict(made)
    return made


def evaluate(workspace, progress=None, **settings):
    return run(EvaluateSettings(**{"experiment": "first", **settings}), workspace, progress or Progress())


def test_the_table_is_tidy_and_complete(workspace, first):
    result = evaluate(workspace)
    table = read_table(result.metrics)
    pd.testing.assert_frame_equal(table, result.table)
    assert tuple(table.columns) == COLUMNS + METRICS
    units = ["predictor", "position", "channel", "t", "z", "level"]
    assert not table.duplicated(units).any()
    assert len(table) == 2 * 4 * 2 * 2 * (2 + 1)  # predictors, positions, channels, times, slices and their volume
    assert dict(zip(table["position"], table["split"], strict=True)) == KEYS
    assert set(table["model"]) == {load_spec(first.checkpoint).fingerprint}
    assert set(table["run"]) == {"version_0"} and set(table["verdict"]) == {"unreviewed"}
    assert table["z"].isna().eq(table["level"] == "volume").all() and table["object_id"].isna().all()
    assert result.warnings == ()


def test_the_model_rows_are_the_metrics_of_the_arrays(workspace, first):
    table = evaluate(workspace).table.query("predictor == 'model'").set_index(["position", "t", "channel", "level"])
    for key in KEYS:
        truth, guess = pixels(key), predicted(key)
        for t in range(2):
            for c, target in enumerate(TARGETS):
                row = table.loc[[(key, t, target, "volume")], list(METRICS)].iloc[0]
                assert dict(row) == image_metrics(truth[t, c + 1], guess[t, c])
                slices = table.loc[(key, t, target, "slice")].set_index("z")
                expected = image_metrics(truth[t, c + 1, 1], guess[t, c, 1])
                assert dict(slices.loc[1, list(METRICS)]) == pytest.approx(expected, rel=1e-12)


def test_the_baseline_rows_are_fitted_on_the_training_positions_only(workspace, first):
    table = evaluate(workspace, positions=("B/1/0",)).table.query("predictor == 'baseline' and level == 'volume'")
    stacks = [pixels(key)[t] for key, part in KEYS.items() if part == "train" for t in range(2)]
    baseline = fit_baseline((stack[:1], stack[1:]) for stack in stacks)
    for t in range(2):
        truth, guess = pixels("B/1/0")[t], baseline.predict(pixels("B/1/0")[t, :1])
        for c in range(len(TARGETS)):
            row = table.query("t == @t and channel == @TARGETS[@c]")[list(METRICS)].iloc[0]
            assert dict(row) == pytest.approx(image_metrics(truth[c + 1], guess[c]), rel=1e-6)


def test_the_baseline_takes_no_more_slices_than_asked(workspace, first):
    few = evaluate(workspace, baseline_planes=1).table.query("predictor == 'baseline'")
    all_ = evaluate(workspace).table.query("predictor == 'baseline'")
    assert len(few) == len(all_) and not np.allclose(few["mae"], all_["mae"])


def test_what_is_not_wanted_is_not_computed(workspace, first):
    table = evaluate(workspace, baseline=False, levels=("volume",), positions=("A/2/0",)).table
    assert set(table["predictor"]) == {"model"} and set(table["level"]) == {"volume"} and len(table) == 4


def test_the_foreground_is_what_lies_above_otsus_threshold(workspace, first):
    from skimage.filters import threshold_otsu

    table = evaluate(workspace, masks=("whole", "foreground"), positions=("A/2/0",), levels=("volume",)).table
    row = table.query("predictor == 'model' and mask == 'foreground' and t == 1 and channel == 'Nuclei'").iloc[0]
    truth = pixels("A/2/0")[1, 1]
    expected = image_metrics(truth, predicted("A/2/0")[1, 0], truth > threshold_otsu(truth))
    assert dict(row[list(METRICS)]) == expected


def test_a_persons_verdict_stands_in_every_row(workspace, first):
    path = first.experiment.groundtruth / "nuclei.zarr"
    with create_plate(path, ["Nuclei"]) as plate:
        plate.add_position("A/1/0", (1, 1, 1, 8, 8), np.uint32)
    record(open_dataset(path).position("A/1/0"), review={"verdict": "accepted", "annotator": "me"})
    table = evaluate(workspace, baseline=False).table
    assert set(table.query("position == 'A/1/0'")["verdict"]) == {"accepted"}
    assert set(table.query("position != 'A/1/0'")["verdict"]) == {"unreviewed"}


def test_the_saved_settings_give_the_same_file_again(workspace, first):
    settings = {"masks": ("whole", "foreground"), "positions": ("B/1/0", "A/1/0"), "metrics": {"nrmse_by": "range"}}
    result = evaluate(workspace, **settings)
    before = result.metrics.read_bytes()
    assert 'normalization="range"' in result.readme.read_text()
    again = EvaluateSettings.load(result.config)
    named = {"run": "version_0", "dataset": workspace.dataset_names()[0], "threads": again.threads}
    assert again == EvaluateSettings(experiment="first", **settings, **named)
    assert run(again, workspace, Progress()).metrics.read_bytes() == before


def test_other_runs_keep_their_rows_while_these_mean_the_same(workspace, first):
    evaluate(workspace)
    second = make_run(workspace, seed=1)
    predict(second, path=first.experiment.predictions(second))
    result = evaluate(workspace, run="version_1")
    assert set(result.table["run"]) == {"version_1"}
    assert set(read_table(result.metrics)["run"]) == {"version_0", "version_1"}
    assert len(read_table(evaluate(workspace, run="version_1").metrics)) == 2 * len(result.table)
    redefined = evaluate(workspace, run="version_1", metrics={"ssim_window": "uniform"})
    assert set(read_table(redefined.metrics)["run"]) == {"version_1"}


def test_another_dataset_of_equal_positions_has_its_own_predictions_and_rows(workspace, first):
    make_dataset(workspace.new_dataset("others"))
    other = workspace.dataset("others").stem
    predict(first, ["B/1/0"], path=first.experiment.predictions(dataset=other), change=lambda _, stack: stack + 1000)
    for store, name in (("predictions.zarr", workspace.dataset("cells").stem), (f"predictions_{other}.zarr", other)):
        said_to_be_of(first.experiment.evaluation / store, name)
    evaluate(workspace, baseline=False, positions=("B/1/0",))
    result = evaluate(workspace, baseline=False, dataset="others")
    assert set(result.table["dataset"]) == {other} and set(result.table["split"]) == {""}
    table = read_table(result.metrics)
    assert set(table["dataset"]) == {other, workspace.dataset("cells").stem}
    errors = table.query("level == 'volume' and channel == 'Nuclei' and t == 0").set_index("dataset")["mae"]
    assert errors[other] > errors.drop(other).item() + 200


def said_to_be_of(path, dataset):
    store = open_dataset(path)
    for position in store.positions.values():
        said = recorded(position, "prediction")
        record(position, prediction={**said, "details": {**said["details"], "dataset": dataset}})


def test_positions_are_added_to_those_evaluated_before_and_replace_themselves(workspace, first):
    evaluate(workspace, positions=("A/1/0", "B/1/0"))
    result = evaluate(workspace, positions=("A/2/0", "B/1/0"), masks=("foreground",))
    table = read_table(result.metrics)
    assert set(result.table["position"]) == {"A/2/0", "B/1/0"}
    assert set(table["position"]) == {"A/1/0", "A/2/0", "B/1/0"}
    assert set(table.query("position == 'B/1/0'")["mask"]) == {"foreground"}
    assert set(table.query("position == 'A/1/0'")["mask"]) == {"whole"}


def test_the_run_that_predicted_is_found_by_its_fingerprint(workspace, first):
    make_run(workspace, seed=1)  # a newer run, which has not predicted
    result = evaluate(workspace, baseline=False)
    assert set(result.table["run"]) == {"version_0"} and result.model == "first/version_0"
    assert set(evaluate(workspace, baseline=False, run="version_0").table["run"]) == {"version_0"}
    with pytest.raises(DatasetError, match="come from another model"):
        evaluate(workspace, run="version_1")


def test_positions_that_are_not_whole_are_left_out_and_said_or_refused(workspace):
    made = make_run(workspace)
    predict(made, ["A/1/0"])
    predict(made, ["B/1/0"], complete=False)
    result = evaluate(workspace, baseline=False)
    assert result.positions == ("A/1/0",)
    assert [str(one) for one in result.left_out] == ["B/1/0 is predicted in part only"]
    for key, rule in (("B/1/0", "in part only"), ("A/2/0", "not predicted yet")):
        assert evaluate(workspace, positions=("A/1/0", key)).left_out[0].position == key
        for wanted, strict in (("A/1/0", key), True), ((key,), False):
            with pytest.raises(DatasetError, match=f"{key}.*{rule}"):
                evaluate(workspace, positions=wanted, strict=strict)


def test_a_position_that_another_model_predicted_is_not_mistaken_for_this_ones(workspace, first):
    second = make_run(workspace, seed=1)
    predict(second, ["A/1/0"])
    assert set(evaluate(workspace, run="version_0", baseline=False).positions) == {*KEYS} - {"A/1/0"}
    with pytest.raises(DatasetError, match="another model than version_0"):
        evaluate(workspace, run="version_0", positions=("A/1/0",))


def test_a_constant_target_has_an_error_only_and_it_is_said(workspace):
    def flat(key, stack):
        stack[:, 1] = 100 if key == "B/1/0" else stack[:, 1]
        return stack

    make_dataset(workspace.new_dataset("flat"), change=flat)
    made = make_run(workspace, dataset="flat")
    predict(made)
    result = evaluate(workspace, positions=("B/1/0",))
    rows = result.table.query("channel == 'Nuclei'")
    assert rows[["pearson", "ssim", "nrmse", "psnr"]].isna().all(axis=None) and rows["mae"].notna().all()
    assert result.table.query("channel == 'Membrane'")["pearson"].notna().all()
    assert any("Nuclei at B/1/0, t 0, model: the target is constant" in line for line in result.warnings)


def test_pixels_that_are_not_finite_are_left_out(workspace):
    def holes(key, stack):
        stack[:, :, :, 10:13, 20] = np.nan
        return stack

    made = make_run(workspace)
    predict(made, change=holes)
    table = evaluate(workspace).table
    assert table[list(METRICS)].notna().all(axis=None)


def test_without_its_training_data_a_model_is_evaluated_without_a_baseline(workspace):
    made = make_run(workspace, dataset="gone")
    predict(made)
    result = evaluate(workspace, dataset="cells")
    assert set(result.table["predictor"]) == {"model"} and set(result.table["split"]) == {""}
    assert len(result.warnings) == 1 and "no trivial baseline" in result.warnings[0]


def test_a_dataset_elsewhere_is_evaluated_in_place(workspace, first, tmp_path):
    elsewhere = make_dataset(tmp_path / "elsewhere.zarr", ["A/1/0"])
    table = evaluate(workspace, dataset=str(elsewhere)).table
    assert set(table["predictor"]) == {"model", "baseline"} and set(table["split"]) == {""}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: make_dataset(path, channels=("Phase",)), "no target to compare with"),
        (lambda path: make_dataset(path, channels=("Phase", "Nuclei")), "Membrane"),
        (
            lambda path: make_dataset(path, change=lambda key, stack: stack[..., :-1]),
            "and its prediction 2 x 2 x 48 x 56",
        ),
        (lambda path: make_dataset(path, ["Z/9/9"]), "share no position"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused_before_anything_is_written(workspace, first, make, sentence):
    path = make(workspace.root / "other.zarr")
    with pytest.raises(DatasetError, match=sentence):
        evaluate(workspace, dataset=str(path))
    assert [entry.name for entry in first.experiment.evaluation.iterdir()] == ["predictions.zarr"]


def test_a_model_of_no_experiment_is_evaluated_by_its_file(workspace, tmp_path):
    made = make_run(workspace)
    file = made.checkpoint.replace(tmp_path / "theirs.ckpt")
    predict_with(load_spec(file).fingerprint, workspace.experiment("theirs").predictions())
    result = evaluate(workspace, experiment="theirs", model=file)
    assert set(result.table["predictor"]) == {"model", "baseline"} and set(result.table["run"]) == {""}
    with pytest.raises(WorkspaceError, match="no run yet"):
        evaluate(workspace, experiment="theirs")


def test_what_is_missing_is_said(workspace):
    with pytest.raises(WorkspaceError, match="no run yet; train one"):
        evaluate(workspace)
    make_run(workspace)
    with pytest.raises(DatasetError, match="nothing is predicted yet; run `vstain predict"):
        evaluate(workspace)
    with pytest.raises(WorkspaceError, match="version_0"):
        evaluate(workspace, run="version_7")


def test_stop_writes_nothing(workspace, first):
    token = CancelToken()

    class Stopper:
        def reported(self, report):
            if report.phase == "Comparing" and report.done == 3:
                token.cancel()

        def produced(self, item): ...

    with pytest.raises(Cancelled):
        evaluate(workspace, Progress(token, Stopper()))
    assert not first.experiment.metrics.exists()


def test_a_position_with_a_damaged_chunk_is_left_out_whole(workspace, first):
    for path in (first.experiment.predictions() / "B/1/0/0").rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            path.write_bytes(b"broken")
    result = evaluate(workspace)
    assert result.positions == tuple(key for key in KEYS if key != "B/1/0")
    assert [one.position for one in result.left_out] == ["B/1/0"] and "cannot be read" in result.left_out[0].reason
    assert "B/1/0" not in set(read_table(result.metrics)["position"])


def test_strict_refuses_a_damaged_chunk_and_writes_nothing(workspace, first):
    for path in (first.experiment.predictions() / "B/1/0/0").rglob("*"):
        if path.is_file() and path.name != "zarr.json":
            path.write_bytes(b"broken")
    with pytest.raises(DatasetError, match="B/1/0"):
        evaluate(workspace, strict=True)
    assert not first.experiment.metrics.exists()
