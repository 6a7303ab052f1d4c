"""Patches are the image's own pixels, normalized, turned and reflected, whether they come from memory or disk."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_vstain.core.data import create_plate, open_dataset
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.inference.normalize import Scaling
from napari_vstain.core.training.patch_index import PatchIndex, Place, grid_places
from napari_vstain.core.training.patch_loader import TrainingBatches, ValidationBatches, made_ahead
from napari_vstain.core.training.patch_settings import PatchSettings
from napari_vstain.core.training.patches import PatchReader
from napari_vstain.core.training.random_places import RandomPlaces
from napari_vstain.core.training.stacks import Stack
from napari_vstain.core.training.tasks import one_task, parse_tasks
from napari_vstain.core.training.tensors import to_batch

from .conftest import KEYS, images, write_plate

CHANNELS = ("Phase", "Nuclei")


def as_batch(patches):
    return to_batch(patches, 1, ["Nuclei"], one_task(["Nuclei"]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patches") / "plate.zarr"
    return open_dataset(write_plate(folder, {key: images(i, (2, 3, 40, 56)) for i, key in enumerate(KEYS)}))


def _reader(dataset, **values):
    scaling = Scaling.of([(100, 10), (400, 50)])
    stacks = [Stack(dataset.position(key), t, scaling) for key in KEYS for t in range(dataset.position(key).shape[0])]
    return PatchReader(stacks, CHANNELS, PatchSettings(**({"size_px": 16} | values)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(seed=st.integers(0, 999), margin=st.integers(0, 7), z_window=st.integers(1, 3))
def test_a_patch_from_memory_is_the_patch_from_disk_and_the_reflected_image(dataset, seed, margin, z_window):
    on_disk, in_memory = (_reader(dataset, margin_px=margin, z_window=z_window) for _ in range(2))
    in_memory.fill_cache(10**9)
    assert all(stack.pixels is not None for stack in in_memory.stacks)
    for place in RandomPlaces(on_disk).draw(4, np.random.default_rng(seed)):
        position, t = on_disk.stacks[place.stack].position, on_disk.stacks[place.stack].t
        whole = position.read(CHANNELS, t).astype(float)
        whole = (whole - [[[[100]]], [[[400]]]]) / [[[[10]]], [[[50]]]]
        whole = np.pad(whole, ((0, 0), (0, 0), (margin, margin), (margin, margin)), "reflect")
        y, x = place.y + margin, place.x + margin
        expected = whole[:, place.z : place.z + z_window, y : y + 16, x : x + 16]
        np.testing.assert_allclose(on_disk.cut(place), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(on_disk.cut(place), in_memory.cut(place))


def test_sources_and_targets_are_turned_together(dataset):
    reader = _reader(dataset, brightness=0, contrast=0)
    reader.fill_cache(10**9)
    place = Place(0, 1, 3, 5)
    plain = reader.cut(place)
    turned = reader.batch([place] * 64, np.random.default_rng(0))
    eight = {np.rot90(patch, k, (-2, -1)).tobytes() for patch in (plain, plain[..., ::-1]) for k in range(4)}
    assert {patch.tobytes() for patch in turned} == eight


def test_only_the_light_of_the_sources_is_changed(dataset):
    reader = _reader(dataset, flip=False, rotate=False, brightness=0.5, contrast=0.25)
    reader.fill_cache(10**9)
    place = Place(0, 1, 3, 5)
    plain = reader.cut(place).copy()
    lit = reader.batch([place] * 200, np.random.default_rng(0))
    np.testing.assert_array_equal(lit[:, 1], np.broadcast_to(plain[1], lit[:, 1].shape))
    stretched, brighter = np.array([np.polyfit(plain[0].ravel(), patch[0].ravel(), 1) for patch in lit]).T
    assert 0.75 <= stretched.min() < 0.8 < 1.2 < stretched.max() <= 1.25
    assert -0.5 <= brighter.min() < -0.45 < 0.45 < brighter.max() <= 0.5
    np.testing.assert_array_equal(reader.cut(place), plain)


def test_borders_are_seen_half_as_often_as_the_inside_and_not_hardly_ever(dataset):
    reader = _reader(dataset, detail=0)
    seen = np.zeros((40, 56))
    for place in RandomPlaces(reader).draw(20000, np.random.default_rng(0)):
        seen[place.y : place.y + 16, place.x : place.x + 16] += 1
    inside = seen[16:-16, 16:-16].mean()
    assert seen[0, 0] > 0.25 * inside
    assert seen[0, 28] > 0.45 * inside
    assert seen.max() < 4 * inside


def test_the_grid_sees_every_pixel_once_in_the_middle_of_its_patches(dataset):
    reader = _reader(dataset, size_px=12, margin_px=2)
    seen = np.zeros((len(reader.stacks), 3, 40, 56), int)
    for place in grid_places(reader.stacks, reader.settings, 10**6):
        seen[place.stack, place.z, place.y + 2 : place.y + 10, place.x + 2 : place.x + 10] += 1
    assert seen.min() == seen.max() == 1
    assert len(grid_places(reader.stacks, reader.settings, 5)) == 5


def test_random_places_reach_every_stack_and_every_corner(dataset):
    reader = _reader(dataset, margin_px=4)
    places = RandomPlaces(reader).draw(4000, np.random.default_rng(0))
    assert {place.stack for place in places} == set(range(6))
    assert {place.z for place in places} == {0, 1, 2}
    assert (min(place.y for place in places), max(place.y for place in places)) == (-4, 40 + 4 - 16)
    assert (min(place.x for place in places), max(place.x for place in places)) == (-4, 56 + 4 - 16)


def test_patches_are_drawn_where_the_target_stands_out(tmp_path):
    image = np.zeros((1, 2, 2, 128, 128), np.float32)
    image[0, 1, 1, 40:44, 100:104] = 1
    position = open_dataset(_plate_of_two_channels(tmp_path / "spot.zarr", image)).positions
    stacks = [Stack(position["A/1/0"], 0, Scaling.of([(0, 1), (0, 1)]))]
    share = {}
    for detail in (0.0, 0.5):
        reader = PatchReader(stacks, CHANNELS, PatchSettings(size_px=16, detail=detail, margin_px=2))
        reader.fill_cache(10**9)
        places = RandomPlaces(reader).draw(400, np.random.default_rng(0))
        patches = reader.batch(places)
        assert all(-2 <= place.y <= 128 + 2 - 16 and -2 <= place.x <= 128 + 2 - 16 for place in places)
        share[detail] = float((patches[:, 1].max((1, 2, 3)) > 0).mean())
    assert share[0.0] < 0.05
    assert 0.4 < share[0.5] < 0.6


def _plate_of_two_channels(path, image):
    with create_plate(path, list(CHANNELS)) as plate:
        plate.add_position("A/1/0", image.shape, image.dtype, (1, 1, 1))[...] = image
    return path


def test_only_what_fits_the_budget_is_cached(dataset):
    reader = _reader(dataset)
    one = 4 * 2 * 3 * 40 * 56
    assert reader.fill_cache(2 * one + 5) == 5
    assert [stack.pixels is not None for stack in reader.stacks] == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size_px": 41}, "is larger than position A/1/0 of 40 × 56 px"),
        ({"z_window": 4}, "has 3"),
        ({"margin_px": 8}, "leaves nothing"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(dataset, values, message):
    with pytest.raises(SettingsError, match=message):
        _reader(dataset, **values)


def test_places_can_be_asked_for_by_position_and_time(dataset):
    reader = _reader(dataset)
    reader.fill_cache(10**9)
    index = RandomPlaces(reader)
    drawn = index.where(position={KEYS[0], KEYS[2]}, t=1).draw(200, np.random.default_rng(0))
    assert {place.stack for place in drawn} == {1, 5}
    assert {place.stack for place in index.where(position=KEYS[1]).draw(200, np.random.default_rng(0))} == {2, 3}
    assert index.where(t=(0, 1)).draw(50, np.random.default_rng(0)) == index.draw(50, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="in no image that is learned from"):
        index.where(t=0).where(t=1)
    with pytest.raises(SettingsError, match="ask for position or t"):
        index.where(foreground=1)


class HardPlaces(PatchIndex):
    """A table of places, each as likely as it was hard: what somebody else may write."""

    def __init__(self, places, hardness):
        self.places, self.hardness = list(places), np.asarray(hardness, float)

    def draw(self, count, random):
        chosen = random.choice(len(self.places), count, p=self.hardness / self.hardness.sum())
        return [self.places[index] for index in chosen]

    def where(self, *, hardness):
        kept = self.hardness >= hardness
        return HardPlaces(np.array(self.places)[kept], self.hardness[kept])


def test_another_index_decides_which_patches_are_learned_from(dataset):
    reader = _reader(dataset, flip=False, rotate=False, brightness=0, contrast=0)
    index = HardPlaces([Place(0, 0, 0, 0), Place(3, 1, 8, 9), Place(4, 2, 20, 30)], [0.1, 3, 0]).where(hardness=1)
    for batch in TrainingBatches(reader, index, as_batch, 2, 0, lambda: 0):
        for patch in batch.source.numpy():
            np.testing.assert_array_equal(patch, reader.cut(Place(3, 1, 8, 9))[:1, 0])


def test_the_same_seed_and_epoch_give_the_same_batches_and_others_do_not(dataset):
    reader = _reader(dataset)
    index = RandomPlaces(reader)

    def epoch(seed, number):
        return [batch.source.numpy() for batch in TrainingBatches(reader, index, as_batch, 3, seed, lambda: number)]

    first = epoch(0, 0)
    np.testing.assert_array_equal(first, epoch(0, 0))
    assert not np.array_equal(first, epoch(0, 1))
    assert not np.array_equal(first, epoch(1, 0))
    assert not np.array_equal(first[0], first[1])


def test_validation_is_the_same_each_time_and_loses_no_patch(dataset):
    batches = ValidationBatches(_reader(dataset, validation_patches=10, batch_size=4), as_batch)
    first, second = ([batch.targets["stain"].numpy() for batch in batches] for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_batch_of_slices_has_no_z_and_one_of_windows_has(dataset):
    assert as_batch(_reader(dataset).batch([Place(0, 0, 0, 0)])).source.shape == (1, 1, 16, 16)
    assert as_batch(_reader(dataset, z_window=2).batch([Place(0, 0, 0, 0)])).targets["stain"].shape == (1, 1, 2, 16, 16)


def test_what_is_not_a_number_is_zero_and_not_valid():
    patches = np.ones((1, 3, 1, 2, 2), np.float32)
    patches[0, 0, 0, 0, 0] = np.nan
    patches[0, 2, 0, 1, 1] = np.inf
    batch = to_batch(patches, 1, ["A", "B"], one_task(["A", "B"]))
    known = batch.weights["stain"]
    assert known.tolist() == [[[[False, True], [True, True]], [[False, True], [True, False]]]]
    assert batch.source[0, 0, 0, 0] == batch.targets["stain"][0, 1, 1, 1] == 0


@pytest.mark.parametrize(("flatten", "value", "known"), [("middle", 2, True), ("max", 3, False), ("mean", 2, True)])
def test_a_head_of_one_slice_has_a_target_of_one_slice_without_margin(flatten, value, known):
    patches = np.broadcast_to(np.float32([1, 2, 3])[:, None, None], (2, 3, 3, 6, 8)).copy()
    patches[0, 2, 0, 2, 2] = np.inf if flatten == "max" else 1
    head = {"task": "flat", "channels": ["B"], "scale": [0, 1, 1]}
    batch = to_batch(patches, 1, ["A", "B"], parse_tasks([{"head": head, "truth": {"flatten": flatten}}]), margin=1)
    assert batch.source.shape == (2, 1, 3, 6, 8)
    assert batch.targets["flat"].shape == (2, 1, 1, 4, 6)
    assert batch.targets["flat"][1].unique().tolist() == [value]
    assert ("flat" not in batch.weights) == known
    assert known or batch.weights["flat"].sum() == 2 * 4 * 6 - 1


@given(count=st.integers(0, 12), ahead=st.integers(0, 5))
def test_made_ahead_keeps_the_order(count, ahead):
    makers = [lambda value=value: value for value in range(count)]
    assert list(made_ahead(makers, ahead)) == list(range(count))


def test_made_ahead_hands_on_errors_and_leaves_no_thread_behind():
    def fail():
        raise OSError("gone")

    items = made_ahead([lambda: 1, fail, lambda: 3], 2)
    assert next(items) == 1
    with pytest.raises(OSError, match="gone"):
        next(items)
    stopped = made_ahead([lambda: 1] * 9, 3)
    next(stopped)
    stopped.close()
    for thread in threading.enumerate():
        if thread.name.startswith("vstain-patches"):
            thread.join(5)
            assert not thread.is_alive()
