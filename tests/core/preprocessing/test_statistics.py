"""Statistics equal an independent computation on the grid, leave out what cannot count, and any version's are read."""

import logging
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_vstain.core.data import create_plate, open_dataset, recorded
from napari_vstain.core.errors import ChannelError, DatasetError, NormalizationError
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.models import Normalization, Statistics
from napari_vstain.core.preprocessing import (
    PreprocessSettings,
    compute_statistics,
    image_statistics,
    pooled_statistics,
    read_statistics,
    run,
    statistics_of,
    unusable,
)
from napari_vstain.core.preprocessing.sampling import PixelSample, grid, sample_frame
from napari_vstain.core.progress import Cancelled, Progress
from napari_vstain.core.workspace import Workspace

logging.getLogger("iohub").setLevel(logging.ERROR)


def independent(values):
    """VisCy's twelve numbers, by numpy's own functions."""
    values = np.asarray(values, np.float64)
    q = {p: np.percentile(values, p) for p in (1, 5, 25, 50, 75, 95, 99)}
    return {
        "mean": np.mean(values), "std": np.std(values), "median": np.median(values), "iqr": q[75] - q[25],
        "min": values.min(), "max": values.max(), "p1": q[1], "p5": q[5], "p95": q[95], "p99": q[99],
        "p95_p5": q[95] - q[5], "p99_p1": q[99] - q[1],
    }  # fmt: skip


def on_grid(frame, spacing):
    """Every `spacing` pixels from half of it on; denser where that gives fewer than 16."""
    rows, columns = (
        [i for i in range(n) if (i - s // 2) % s == 0 and i >= s // 2]
        for n in frame.shape
        for s in [max(1, min(spacing, n // 16))]
    )
    return np.array([[frame[y, x] for x in columns] for y in rows]).ravel()


def make_plate(path, images, channels=("a",), chunks=None):
    """Write a plate of arrays TCZYX by key."""
    with create_plate(path, channels) as plate:
        for key, pixels in images.items():
            plate.add_position(key, pixels.shape, pixels.dtype, chunks=chunks)[:] = pixels
    return path


def random_image(seed, shape=(2, 1, 3, 64, 48), dtype="float32"):
    return (np.random.default_rng(seed).normal(100, 20, shape)).astype(dtype)


@given(
    frame=hnp.arrays("uint16", hnp.array_shapes(min_dims=2, max_dims=2, max_side=90), elements=st.integers(0, 500)),
    spacing=st.integers(1, 40),
)
def test_a_frame_is_sampled_on_its_grid(frame, spacing):
    sample = sample_frame(frame, spacing)
    expected = on_grid(frame, spacing)
    if expected.min() == expected.max():
        expected = frame.ravel() if frame.min() < frame.max() else np.empty(0)
    np.testing.assert_array_equal(sample.values, expected)
    assert sample.usable == (frame.min() < frame.max())


@given(shape=st.tuples(st.integers(1, 3000), st.integers(1, 3000)), spacing=st.integers(1, 200))
def test_a_grid_has_enough_points_and_lies_inside(shape, spacing):
    for size, part in zip(shape, grid(shape, spacing), strict=True):
        points = range(size)[part]
        assert len(points) >= min(size, 16)
        assert part.step <= spacing


@given(values=hnp.arrays("float32", st.integers(2, 200), elements=st.floats(-1e4, 1e4, width=32)))
def test_statistics_equal_an_independent_computation(values):
    found = compute_statistics(values).model_dump(exclude={"otsu_threshold"})
    assert found == pytest.approx(independent(values), rel=1e-9, abs=1e-6)


@settings(max_examples=30)
@given(parts=st.lists(st.integers(0, 50), max_size=20), limit=st.integers(8, 64))
def test_a_sample_keeps_everything_up_to_its_limit_then_evenly_spaced_values(parts, limit):
    sample, stream = PixelSample(limit), np.arange(sum(parts), dtype=np.float32)
    for part in np.split(stream, np.cumsum(parts)[:-1]) if parts else []:
        sample.add(part)
    kept = sample.values
    assert len(kept) <= limit
    if stream.size <= limit:
        np.testing.assert_array_equal(kept, stream)
    else:
        assert len(set(np.diff(kept))) == 1 and kept[0] == 0 and len(kept) >= limit // 2


@settings(max_examples=60)
@given(data=st.data(), limit=st.integers(16, 64))
def test_every_value_counts_alike_however_many_there_are_and_in_whatever_order(data, limit):
    sizes = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=12))
    values = np.random.default_rng(data.draw(st.integers(0, 99))).gamma(2.0, 100.0, sum(sizes)) + 4e6
    if data.draw(st.booleans()):
        values.sort()
    sample = PixelSample(limit)
    for part in np.split(values, np.cumsum(sizes)[:-1]):
        sample.add(part)
    found, wanted = compute_statistics(sample), independent(values)
    for name in ("mean", "std", "min", "max"):
        assert getattr(found, name) == pytest.approx(wanted[name], rel=1e-9)
    kept, ordered = np.sort(sample.values), np.sort(values)
    share = (np.searchsorted(ordered, kept) + 0.5) / ordered.size - (np.arange(kept.size) + 0.5) / kept.size
    assert len(kept) >= min(limit // 2, values.size)
    assert np.abs(share).max() <= (0 if values.size <= limit else (len(sizes) + 4) / kept.size)


def test_a_dataset_of_more_than_the_samples_limit_has_the_statistics_of_its_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(PixelSample.__init__, "__defaults__", (1 << 12,))
    workspace = Workspace.create(tmp_path)
    long, short = random_image(0, (33, 1, 1, 64, 48)), random_image(1, (1, 1, 1, 64, 48)) + 300
    make_plate(workspace.datasets / "d.zarr", {"A/1/0": short, "A/1/1": long})
    found = run(PreprocessSettings(dataset="d", grid_spacing_px=1), workspace, Progress()).statistics["a"]
    wanted = independent(np.concatenate([short.ravel(), long.ravel()]))
    assert (found.mean, found.std) == pytest.approx((wanted["mean"], wanted["std"]), rel=1e-6)
    assert found.median == pytest.approx(wanted["median"], abs=0.5)
    assert found.p99 == pytest.approx(wanted["p99"], rel=0.1)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((20, 20), "uint16"), "is empty in a"),
        (np.full((20, 20), 7.5), "is constant (7.5) in a"),
        (np.full((20, 20), np.nan, "float32"), "has no finite pixel in a"),
        (np.repeat(np.arange(3.0), 400).reshape(3, 20, 20), "is constant in every slice in a"),
        (np.where(np.arange(400).reshape(20, 20) % 8, 0, 500.0), "has an interquartile range of 0 in a"),
        (np.eye(20) * 500 + np.random.default_rng(0).normal(0, 1e-4, (20, 20)), "has an interquartile range of 0.0001"),
        (np.arange(400.0).reshape(20, 20), ""),
        (np.arange(400, dtype="uint32").reshape(20, 20) + np.uint32(4_000_000_000), ""),
        (np.arange(400.0).reshape(20, 20) * 1e-12, ""),
    ],
)
def test_why_a_position_cannot_be_normalized_is_said(tmp_path, pixels, reason):
    image = pixels.reshape(1, 1, -1, 20, 20)
    position = open_dataset(make_plate(tmp_path / "d.zarr", {"A/1/0": image})).position("A/1/0")
    said = unusable(position, "a", Normalization(level="fov", subtract="median", divide="iqr"))
    assert said.startswith(reason) and bool(said) == bool(reason)
    assert unusable(position, "b") == "has no b"


@given(exponent=st.integers(-25, 25), offset=st.sampled_from([0.0, 1e3]))
def test_an_image_of_any_unit_is_normalized_to_the_same(exponent, offset):
    plain = np.random.default_rng(0).normal(offset, 10, (1, 40, 40))
    scaled = plain * 10.0**exponent
    makes = [
        Scaling.of([Normalization().offset_and_divisor(image_statistics(image, 1))]).normalized(image)
        for image in (plain, scaled)
    ]
    np.testing.assert_allclose(*makes, atol=0.05)


def test_pixels_of_32_bits_keep_what_lies_above_a_large_offset():
    plain = np.random.default_rng(0).integers(0, 200, (1, 40, 40), "uint32")
    makes = [
        Scaling.of([Normalization().offset_and_divisor(image_statistics(image, 1))]).normalized(image)
        for image in (plain, plain + np.uint32(4_000_000_000))
    ]
    np.testing.assert_allclose(*makes, atol=1e-5)


def test_a_time_points_statistics_are_of_all_positions_and_a_positions_own_are_ours(tmp_path):
    workspace = Workspace.create(tmp_path)
    images = {"A/1/0": random_image(0), "A/1/1": random_image(1) + 200}
    path = make_plate(workspace.datasets / "d.zarr", images)
    run(PreprocessSettings(dataset="d", grid_spacing_px=1, otsu=False), workspace, Progress())
    for t in (0, 1):
        pooled = independent(np.concatenate([image[t].ravel() for image in images.values()]))
        for key, image in images.items():
            position = open_dataset(path).position(key)
            found = read_statistics(position, "a", "timepoint", t)
            assert found.model_dump(exclude={"otsu_threshold"}) == pytest.approx(pooled, rel=1e-6)
            own = statistics_of(position, "a", "timepoint", t).model_dump(exclude={"otsu_threshold"})
            assert own == pytest.approx(independent(image[t].ravel()), rel=1e-6)


def test_preprocessing_stores_all_levels_where_viscy_looks_for_them(tmp_path):
    workspace = Workspace.create(tmp_path)
    images = {"A/1/0": random_image(0), "B/2/0": random_image(1, (2, 1, 1, 100, 70)) + 50}
    path = make_plate(workspace.datasets / "d.zarr", images)
    result = run(PreprocessSettings(dataset="d", grid_spacing_px=5), workspace, Progress())
    samples = {
        (key, t): np.concatenate([on_grid(frame, 5) for frame in pixels[t, 0]])
        for key, pixels in images.items()
        for t in range(2)
    }
    whole = independent(np.concatenate([samples[key, t] for key in images for t in range(2)]))
    from iohub import open_ome_zarr

    with open_ome_zarr(path, mode="r") as plate:
        stored = {"": plate.zattrs["normalization"]["a"]}
        stored |= {key: position.zattrs["normalization"]["a"] for key, position in plate.positions()}
    for entry in stored.values():
        assert entry["dataset_statistics"] == pytest.approx(whole)
    for t in range(2):
        both = np.concatenate([samples[key, t] for key in images])
        assert stored[""]["timepoint_statistics"][str(t)] == pytest.approx(independent(both))
    for key in images:
        fov = dict(stored[key]["fov_statistics"])
        assert images[key].min() < fov.pop("otsu_threshold") < images[key].max()
        assert fov == pytest.approx(independent(np.concatenate([samples[key, 0], samples[key, 1]])))
        assert stored[key]["timepoint_statistics"] == stored[""]["timepoint_statistics"]
    assert result.statistics["a"].mean == pytest.approx(whole["mean"])
    assert result.left_out == ()
    dataset = open_dataset(path)
    assert read_statistics(dataset, "a", "dataset") == read_statistics(dataset.position("B/2/0"), "a", "dataset")


def test_the_settings_are_saved_in_the_sidecar_and_replay(tmp_path):
    workspace = Workspace.create(tmp_path)
    path = make_plate(workspace.datasets / "d.zarr", {"A/1/0": random_image(0)})
    result = run(PreprocessSettings(dataset="d"), workspace, Progress())
    assert result.config == workspace.datasets / "d.sidecar" / "preprocess_config.yml"
    before = open_dataset(path).attribute("normalization")
    again = run(PreprocessSettings.load(result.config), workspace, Progress())
    assert open_dataset(path).attribute("normalization") == before
    assert again == result
    assert workspace.dataset_names() == ["d"]


def test_channels_preprocessed_at_the_same_time_all_have_their_statistics(tmp_path):
    channels = tuple("abcd")
    images = {f"A/{well}/{field}": random_image(well, (1, 4, 1, 24, 24)) for well in range(1, 4) for field in range(3)}
    path = make_plate(tmp_path / "p.zarr", images, channels)
    workspace = Workspace.create(tmp_path / "w")
    workspace.link_dataset(path)

    def preprocess(channel):
        run(PreprocessSettings(dataset="p", channels=(channel,)), workspace, Progress())

    with ThreadPoolExecutor(len(channels)) as pool:
        list(pool.map(preprocess, channels))
    dataset = open_dataset(path, workspace)
    for node in (dataset, *dataset.positions.values()):
        assert set(node.attribute("normalization")) == set(channels)


def test_a_linked_dataset_is_preprocessed_without_touching_it(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    path = make_plate(tmp_path / "facility" / "d.zarr", {"A/1/0": random_image(0)})
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    run(PreprocessSettings(dataset=workspace.link_dataset(path)), workspace, Progress())
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    position = open_dataset(path, workspace).position("A/1/0")
    assert read_statistics(position, "a", "fov") is not None
    assert read_statistics(open_dataset(path).position("A/1/0"), "a", "fov") is None


def test_what_is_empty_constant_or_not_finite_is_left_out_and_said(tmp_path):
    workspace = Workspace.create(tmp_path)
    good, bad = random_image(0), random_image(1)
    bad[0, 0, 0] = 0
    bad[1, 0, 2] = 77
    bad[1, 0, 1, 4:8, 4:12] = np.nan
    bad[1, 0, 0, 0, :5] = np.inf
    make_plate(workspace.datasets / "d.zarr", {"A/1/0": good, "A/1/1": bad})
    result = run(PreprocessSettings(dataset="d", grid_spacing_px=1), workspace, Progress())
    sentence = (
        "a at A/1/1: left out 2 of 6 frames, which are empty or constant and 37 pixels, which are NaN or infinite."
    )
    assert result.warnings == (sentence,) and result.left_out == ()
    rest = np.concatenate([bad[0, 0, 1].ravel(), bad[0, 0, 2].ravel(), bad[1, 0, 0].ravel(), bad[1, 0, 1].ravel()])
    expected = independent(np.concatenate([good.ravel(), rest[np.isfinite(rest)]]))
    found = result.statistics["a"].model_dump(exclude={"otsu_threshold"})
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_channel_that_is_constant_everywhere_is_left_out_and_the_others_go_on(tmp_path):
    workspace = Workspace.create(tmp_path)
    pixels = np.concatenate([random_image(0), np.full((2, 1, 3, 64, 48), 5, "float32")], axis=1)
    path = make_plate(workspace.datasets / "d.zarr", {"A/1/0": pixels}, ("a", "b"))
    for asked in ({"strict": True}, {"channels": ("b",)}):
        with pytest.raises(DatasetError, match="'A/1/0': is empty or constant in b"):
            run(PreprocessSettings(dataset="d", **asked), workspace, Progress())
        assert open_dataset(path).attribute("normalization") is None
        assert open_dataset(path).position("A/1/0").attribute("normalization") is None
    result = run(PreprocessSettings(dataset="d"), workspace, Progress())
    assert list(result.statistics) == ["a"] and result.positions == ("A/1/0",)
    assert list(map(str, result.left_out)) == ["A/1/0 is empty or constant in b"]


def test_a_position_that_is_listed_and_not_there_is_named(tmp_path):
    workspace = Workspace.create(tmp_path)
    path = make_plate(workspace.datasets / "d.zarr", {f"A/1/{n}": random_image(n) for n in range(2)})
    shutil.rmtree(path / "A/1/1")
    result = run(PreprocessSettings(dataset="d"), workspace, Progress())
    assert result.positions == ("A/1/0",)
    assert [one.position for one in result.left_out] == ["A/1/1"]


def test_a_position_with_a_damaged_chunk_takes_no_part_and_is_named(tmp_path):
    workspace = Workspace.create(tmp_path)
    images = {f"A/1/{n}": random_image(n) for n in range(3)}
    path = make_plate(workspace.datasets / "d.zarr", images)
    for chunk in (path / "A/1/1/0").rglob("*"):
        if chunk.is_file() and chunk.name != "zarr.json":
            chunk.write_bytes(b"broken")
    result = run(PreprocessSettings(dataset="d", grid_spacing_px=1), workspace, Progress())
    assert result.positions == ("A/1/0", "A/1/2")
    (left_out,) = result.left_out
    assert left_out.position == "A/1/1" and "cannot be read" in left_out.reason
    expected = independent(np.concatenate([images["A/1/0"].ravel(), images["A/1/2"].ravel()]))
    assert result.statistics["a"].model_dump(exclude={"otsu_threshold"}) == pytest.approx(expected, rel=1e-6)


def test_a_position_that_is_all_constant_has_the_datasets_statistics_but_none_of_its_own(tmp_path):
    workspace = Workspace.create(tmp_path)
    images = {"A/1/0": random_image(0), "A/1/1": np.zeros((2, 1, 3, 64, 48), "float32")}
    path = make_plate(workspace.datasets / "d.zarr", images)
    result = run(PreprocessSettings(dataset="d"), workspace, Progress())
    position = open_dataset(path).position("A/1/1")
    assert read_statistics(position, "a", "dataset") == result.statistics["a"]
    assert read_statistics(position, "a", "fov") is None
    assert list(map(str, result.left_out)) == ["A/1/1 is empty or constant in a"]


def test_sparse_dots_between_the_grids_points_are_seen():
    frame = np.zeros((128, 128), "uint16")
    frame[1, 1] = 9
    assert image_statistics(frame).max == 9


def test_a_missing_channel_is_said_before_anything_is_read(tmp_path):
    workspace = Workspace.create(tmp_path)
    make_plate(workspace.datasets / "d.zarr", {"A/1/0": random_image(0)})
    with pytest.raises(ChannelError, match="channel 'GFP': no position of d has it; choose a"):
        run(PreprocessSettings(dataset="d", channels=("GFP",)), workspace, Progress())


def test_a_stop_writes_nothing(tmp_path):
    workspace = Workspace.create(tmp_path)
    path = make_plate(workspace.datasets / "d.zarr", {f"A/1/{n}": random_image(n) for n in range(3)})
    progress = Progress()

    class StopAtSecond:
        def reported(self, report):
            if report.done == 1:
                progress.token.cancel()

        def produced(self, item): ...

    progress._sink = StopAtSecond()
    with pytest.raises(Cancelled):
        run(PreprocessSettings(dataset="d"), workspace, progress)
    assert open_dataset(path).attribute("normalization") is None
    assert not workspace.sidecar(path).exists()


def test_each_chunk_is_decoded_once(tmp_path, monkeypatch):
    from napari_vstain.core.data.pixels import Pixels

    path = make_plate(tmp_path / "d.zarr", {"A/1/0": random_image(0, (1, 1, 7, 64, 48))}, chunks=(1, 1, 3, 64, 48))
    read: Counter[int] = Counter()
    original = Pixels.__getitem__

    def counted(self, region):
        read.update({z // 3 for z in range(7)[region[2]]})
        return original(self, region)

    monkeypatch.setattr(Pixels, "__getitem__", counted)
    statistics_of(open_dataset(path).position("A/1/0"), "a", "fov")
    assert read == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize("level", ["fov", "timepoint"])
def test_statistics_of_an_image_never_preprocessed_are_those_preprocessing_would_store(tmp_path, level):
    workspace = Workspace.create(tmp_path)
    path = make_plate(workspace.datasets / "d.zarr", {"A/1/0": random_image(0)})
    computed = statistics_of(open_dataset(path).position("A/1/0"), "a", level, 1)
    run(PreprocessSettings(dataset="d", otsu=False), workspace, Progress())
    assert statistics_of(open_dataset(path).position("A/1/0"), "a", level, 1) == computed


def test_computed_statistics_are_kept_in_the_workspace_and_only_there(tmp_path):
    workspace = Workspace.create(tmp_path / "ws")
    path = make_plate(tmp_path / "d.zarr", {"A/1/0": random_image(0)})
    statistics_of(open_dataset(path).position("A/1/0"), "a", "timepoint", 0)
    assert open_dataset(path).position("A/1/0").attribute("normalization") is None
    for t in (0, 1):
        computed = statistics_of(open_dataset(path, workspace).position("A/1/0"), "a", "timepoint", t)
        kept = recorded(open_dataset(path, workspace).position("A/1/0"), "timepoint_statistics")["a"]
        assert Statistics(**kept[str(t)]) == computed and "0" in kept


def test_statistics_of_the_dataset_are_not_made_up(tmp_path):
    path = make_plate(tmp_path / "d.zarr", {"A/1/0": random_image(0)})
    with pytest.raises(ChannelError, match="has no dataset statistics at position A/1/0; run `vstain preprocess`"):
        statistics_of(open_dataset(path).position("A/1/0"), "a", "dataset")


def test_a_constant_image_has_no_statistics():
    with pytest.raises(NormalizationError, match=r"channel 'image': is constant \(7\)"):
        image_statistics(np.full((3, 20, 20), 7.0))
    with pytest.raises(NormalizationError, match="channel 'Phase': has no finite pixel"):
        image_statistics(np.full((20, 20), np.nan), name="Phase")


def test_lazy_and_whole_images_have_the_same_statistics():
    import dask.array as da

    pixels = random_image(3, (2, 3, 70, 90))
    assert image_statistics(da.from_array(pixels, chunks=(1, 1, 50, 50))) == image_statistics(pixels)


def test_pooled_statistics_are_those_of_the_positions_together(tmp_path):
    images = {f"A/1/{n}": random_image(n) for n in range(3)}
    dataset = open_dataset(make_plate(tmp_path / "d.zarr", images))
    chosen = [dataset.position(key) for key in ("A/1/0", "A/1/2")]
    pooled = pooled_statistics(chosen, "a", spacing_px=1)
    together = np.concatenate([images["A/1/0"].ravel(), images["A/1/2"].ravel()])
    assert pooled.model_dump(exclude={"otsu_threshold"}) == pytest.approx(independent(together), rel=1e-6)


OLD = {"mean": 1.0, "std": 2.0, "median": 3.0, "iqr": 4.0}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (OLD, Statistics(**OLD)),
        ({**OLD, "p1": 0.5, "someday": 9}, Statistics(**OLD, p1=0.5)),
        ({**OLD, "max": float("nan"), "min": None}, Statistics(**OLD)),
        ({"mean": 1.0}, None),
        ({**OLD, "std": "two"}, None),
        ("broken", None),
    ],
)
def test_statistics_of_other_versions_are_read_and_broken_ones_are_none(tmp_path, stored, expected):
    position = open_dataset(make_plate(tmp_path / "d.zarr", {"A/1/0": random_image(0)})).position("A/1/0")
    position.set_attribute("normalization", {"a": {"fov_statistics": stored, "timepoint_statistics": {"3": stored}}})
    assert read_statistics(position, "a", "fov") == expected
    assert read_statistics(position, "a", "timepoint", 3) == expected
    assert read_statistics(position, "a", "timepoint", 0) is None
    assert read_statistics(position, "b", "fov") is None


@pytest.mark.real_data("omezarr_v04_fractal")
def test_statistics_of_a_third_party_image_go_to_the_sidecar(tmp_path, real_data):
    (path,) = (real_data / "omezarr_v04_fractal").glob("*.zarr")
    workspace = Workspace.create(tmp_path)
    result = run(PreprocessSettings(dataset=workspace.link_dataset(path)), workspace, Progress())
    pixels = open_dataset(path).position("0/0/0").read(["DAPI"])[0, 0]
    assert result.statistics["DAPI"].mean == pytest.approx(pixels.mean(), rel=0.05)
    assert result.statistics["DAPI"].median == pytest.approx(np.median(pixels), rel=0.05)
    assert read_statistics(open_dataset(path, workspace), "DAPI", "dataset") == result.statistics["DAPI"]


def test_statistics_of_a_store_that_was_replaced_are_taken_anew(tmp_path):
    """The store lies elsewhere, and what is said of it in the workspace outlives it."""
    workspace = Workspace.create(tmp_path / "study")
    path = tmp_path / "far.zarr"
    for value in (100, 20000):
        shutil.rmtree(path, ignore_errors=True)
        with create_plate(path, ["Phase"]) as plate:
            image = np.random.default_rng(value).normal(value, 10, (2, 1, 1, 64, 64)).astype(np.float32)
            plate.add_position("A/1/0", image.shape, image.dtype)[:] = image
            plate.set_attribute("vstain", {"token": str(value)}, "A/1/0")
        position = open_dataset(path, workspace).position("A/1/0")
        if value == 100:
            run(PreprocessSettings(dataset=str(path)), workspace, Progress())
        for level, t in (("fov", 0), ("timepoint", 1), ("timepoint", 0)):
            assert statistics_of(position, "Phase", level, t).mean == pytest.approx(value, abs=1)
    again = open_dataset(path, workspace).position("A/1/0")
    assert statistics_of(again, "Phase", "fov").mean == pytest.approx(20000, abs=1)
