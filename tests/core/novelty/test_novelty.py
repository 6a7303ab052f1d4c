"""Images of another kind are flagged, unseen ones of the training's kind are not, and the reason is said."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from napari_vstain.core.errors import DatasetError
from napari_vstain.core.models import Dimensions, ModelSpec, Normalization, OutputSpec, Statistics
from napari_vstain.core.models.calibration import Calibration
from napari_vstain.core.novelty import calibrate, check_input, check_times, novelty


def cells(seed, size=(384, 384), radius=6.0, gain=1.0, offset=1000.0, noise=8.0, depth=1, density=0.002):
    """A field of round cells, denser or sparser by the seed, (Z, Y, X)."""
    rng = np.random.default_rng(seed)
    share = density * rng.uniform(0.6, 1.6)
    seeds = (rng.random((depth, *size)) < share).astype(float)
    blobs = gaussian_filter(seeds, (0, radius, radius)) * radius**2
    edges = gaussian_filter(seeds, (0, radius / 3, radius / 3)) * radius**2 / 4
    image = (blobs - edges) * 300 + rng.normal(size=seeds.shape) * noise
    return (image * gain * rng.uniform(0.8, 1.25) + offset * rng.uniform(0.8, 1.25)).astype(np.float32)


def spec_of(images, level="fov", dimensions=Dimensions.TWO, spacing_um=(2.0, 0.5, 0.5)):
    """Return a calibrated spec of one source for images (Z, Y, X)."""
    values = np.concatenate([image.ravel() for image in images])
    known = Statistics(mean=values.mean(), std=values.std(), median=np.median(values), iqr=np.ptp(values) / 4)
    spec = ModelSpec(
        sources=("Phase",),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        dimensions=dimensions,
        source_normalization=Normalization(level=level),
        statistics={"Phase": known, "Nuclei": known},
        spacing_um=spacing_um,
    )
    return spec.model_copy(update={"novelty": calibrate(spec, [image[None] for image in images])})


@pytest.fixture(scope="module")
def spec():
    return spec_of([cells(seed) for seed in range(10)])


def flagged(spec, image):
    return bool(check_input(spec, image[None]))


def test_false_alarms_are_at_most_one_in_a_hundred_positions(spec):
    assert sum(flagged(spec, cells(1000 + seed)) for seed in range(200)) <= 2


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_training_positions_make_it_careful_rather_than_shrill(number):
    alarms = 0
    for trial in range(12):
        few = spec_of([cells(50 * trial + seed) for seed in range(number)])
        alarms += sum(flagged(few, cells(5000 + 10 * trial + seed)) for seed in range(10))
    assert alarms <= 2


@pytest.mark.parametrize("size", [(150, 700), (512, 256), (900, 900)])
def test_the_size_of_an_image_is_no_reason(spec, size):
    assert sum(flagged(spec, cells(2000 + seed, size)) for seed in range(20)) <= 1


@pytest.mark.parametrize(
    "other",
    [
        lambda seed: cells(seed, radius=2.5),
        lambda seed: cells(seed, radius=20),
        lambda seed: cells(seed, noise=150),
        lambda seed: gaussian_filter(cells(seed), (0, 3, 3)),
        lambda seed: zoom(cells(seed), (1, 0.4, 0.4), order=1),
        lambda seed: -cells(seed) + 3000,
        lambda seed: np.random.default_rng(seed).normal(size=(1, 384, 384)) * 100 + 1000,
        lambda seed: np.abs(cells(seed, offset=0)) ** 3,
        lambda seed: np.tile(np.arange(384.0), (1, 384, 1)),
    ],
    ids=["small", "large", "noisy", "blurred", "shrunk", "inverted", "noise", "skewed", "ramp"],
)
def test_another_kind_of_image_is_flagged(spec, other):
    assert all(flagged(spec, other(seed)) for seed in range(5))


def test_exposure_is_no_reason_where_each_image_is_normalized_by_itself(spec):
    image = cells(77)
    assert not flagged(spec, image * 16)


@pytest.mark.parametrize(
    ("gain", "offset", "reason"), [(16, 0, "contrast is"), (1, 30000, "mean of"), (0.05, 0, "contrast is")]
)
def test_exposure_is_a_reason_where_the_training_data_normalizes(gain, offset, reason):
    spec = spec_of([cells(seed) for seed in range(10)], level="dataset")
    image = cells(77)
    assert not flagged(spec, image)
    (sentence,) = check_input(spec, ((image - image.mean()) * gain + image.mean() + offset)[None])
    assert reason in sentence


def test_the_worst_channel_is_named_with_its_score_and_what_to_do():
    images = [np.stack([cells(seed), cells(seed + 100, radius=3)]) for seed in range(8)]
    known = Statistics(mean=1000, std=100, median=1000, iqr=100)
    spec = ModelSpec(
        sources=("Phase", "DIC"),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        source_normalization=Normalization(level="fov"),
        statistics=dict.fromkeys(("Phase", "DIC", "Nuclei"), known),
    )
    spec = spec.model_copy(update={"novelty": calibrate(spec, images)})
    assert check_input(spec, np.stack([cells(900), cells(901, radius=3)])) == []
    (sentence,) = check_input(spec, np.stack([cells(900), cells(901, radius=12)]))
    assert sentence.startswith("DIC looks unlike") and "Check the channel, the focus and the magnification" in sentence
    swapped = check_input(spec, np.stack([cells(901, radius=3), cells(900)]))
    assert [line.split()[0] for line in swapped] == ["Phase", "DIC"]


def test_a_constant_image_and_one_that_is_not_finite_are_flagged_and_nothing_breaks(spec):
    for image in (np.full((1, 384, 384), 7.0), np.full((1, 384, 384), np.nan), np.full((1, 1, 1), 3.0)):
        (sentence,) = check_input(spec, image[None])
        assert "same value nearly everywhere" in sentence


def test_a_few_bad_pixels_are_no_reason(spec):
    image = cells(78)
    image[0, 10:14, 20] = np.nan
    image[0, 300, 300] = np.inf
    assert not flagged(spec, image)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 3, 500), (1, 1, 500, 1), (1, 5, 64, 64), (1, 17, 33)])
def test_any_shape_gets_an_answer(spec, shape):
    image = np.random.default_rng(0).normal(size=shape)
    assert all(isinstance(line, str) for line in check_input(spec, image))


def test_a_position_is_judged_without_being_read_whole(tmp_path):
    from napari_vstain.core.data import create_plate, open_dataset
    from napari_vstain.core.novelty import PositionImage

    with create_plate(tmp_path / "plate.zarr", ["Nuclei", "Phase"]) as plate:
        array = plate.add_position("A/1/0", (2, 2, 1, 384, 384), np.float32)
        array[0, 1], array[1, 1] = cells(90), cells(91, radius=20)
    position = open_dataset(tmp_path / "plate.zarr").position("A/1/0")
    spec = spec_of([cells(seed) for seed in range(5)])
    for t in range(2):
        whole, lazily = position.read(["Phase"], t), PositionImage(position, ("Phase",), t)
        assert novelty(spec, lazily) == novelty(spec, whole)
        assert bool(check_input(spec, lazily)) == (t == 1)


def test_a_stack_is_judged_by_a_few_of_its_slices():
    class Counted:
        """An array that remembers which slices were read."""

        def __init__(self, array):
            self.array, self.shape, self.ndim, self.read = array, array.shape, array.ndim, set()

        def __getitem__(self, place):
            self.read.add(place[1])
            return self.array[place]

    stacks = [cells(seed, (256, 256), depth=9) for seed in range(6)]
    spec = spec_of(stacks, dimensions=Dimensions.THREE)
    image = Counted(cells(99, (256, 256), depth=9)[None])
    assert check_input(spec, image) == [] and image.read == {1, 4, 7}


@pytest.mark.parametrize(
    ("dimensions", "spacing_um", "axes"),
    [
        (Dimensions.TWO, (2.0, 0.5, 0.5), ""),
        (Dimensions.TWO, (9.0, 0.5, 0.5), ""),
        (Dimensions.TWO, (2.0, 0.52, 0.48), ""),
        (Dimensions.TWO, (2.0, 0.5, 0.65), "X"),
        (Dimensions.TWO, (None, 0.25, 0.25), "YX"),
        (Dimensions.THREE, (9.0, 0.5, 0.5), "Z"),
        (Dimensions.THREE, None, ""),
    ],
)
def test_another_voxel_size_is_said_with_both_numbers(spec, dimensions, spacing_um, axes):
    spec = spec.model_copy(update={"dimensions": dimensions})
    sentences = check_input(spec, cells(80)[None], spacing_um)
    assert len(sentences) == bool(axes)
    for axis in axes:
        assert f"along {axis} where the model was trained at" in sentences[0]


def test_the_calibration_survives_json_and_is_small(spec):
    assert len(spec.novelty.model_dump_json()) < 20_000
    again = ModelSpec.model_validate_json(spec.model_dump_json())
    assert again.novelty == spec.novelty
    image = cells(81)[None]
    assert novelty(again, image) == novelty(spec, image)


def test_a_record_of_the_version_before_judges_all_but_polarity(spec):
    before = spec.model_copy(update={"novelty": spec.novelty.model_copy(update={"version": 2})})
    assert not flagged(before, cells(77)) and not flagged(before, 3000 - cells(77))
    assert flagged(before, gaussian_filter(cells(77), (0, 3, 3)))


@pytest.mark.parametrize("known", [{}, {"version": 1, "channels": {"Phase": {}}}, {"version": 99}])
def test_a_model_that_cannot_judge_says_so(spec, known):
    other = spec.model_copy(update={"novelty": Calibration.parse(known)})
    (sentence,) = check_input(other, np.zeros((1, 9, 9)))
    assert "cannot be judged" in sentence


def test_the_worst_time_point_and_its_place_are_named(spec):
    movie = {t: cells(60 + t, (1100, 1100))[None] for t in range(3)}
    assert check_times(spec, movie) == []
    movie[2][0, 0, :500, 600:] = gaussian_filter(movie[2][0, 0, :500, 600:], 9)
    (sentence,) = check_times(spec, movie)
    assert "at t 2 around y " in sentence


def test_what_harms_is_flagged_and_what_does_not_is_not(spec):
    image, random = cells(70, (512, 512)), np.random.default_rng(0)
    saturated = np.minimum(image, np.percentile(image, 70))
    hot = np.where(random.random(image.shape) < 0.002, 4 * image.max(), image)
    for harmful, reason in ((saturated, "clipped"), (hot, "single pixels"), (3000 - image, "other way round")):
        (sentence,) = check_input(spec, harmful[None])
        assert reason in sentence
    for harmless in (gaussian_filter(image, (0, 0.5, 0.5)), image + random.normal(0, 8, image.shape)):
        assert check_input(spec, harmless[None]) == []


@pytest.mark.parametrize("share", [0.3, 0.4, 0.7])
def test_a_part_that_is_inverted_is_seen(spec, share):
    for seed in range(5):
        image = cells(300 + seed, (768, 768))
        edge = int(share * 768)
        image[..., :edge] = 2 * np.median(image) - image[..., :edge]
        assert flagged(spec, image)


def test_bright_and_dark_are_the_other_way_round_only_where_turning_them_back_mends_it(spec):
    """Dark cells with bright rims have some bands turned and others not: they are of another kind."""
    (turned,) = novelty(spec, (3000 - cells(400))[None])
    mixed = cells(400) - 2.5 * cells(401, radius=2.5)
    (other,) = novelty(spec, mixed[None])
    assert turned.reason == "bright and dark are the other way round"
    assert other.unlike and other.reason != turned.reason


def test_nothing_to_calibrate_on_is_said(spec):
    for images in ([], [np.zeros((1, 1, 64, 64))]):
        with pytest.raises(DatasetError, match="constant in every position"):
            calibrate(spec, images)


@pytest.fixture(scope="module", params=["dataset", "fov"])
def coli(request, real_data):
    """A model of E. coli fields 0 to 6."""
    from tifffile import imread

    folder = real_data / "ecoli_phase_fluorescence"
    return spec_of([imread(folder / f"ecoli_HG105_{i}_phase.tif")[None] for i in range(7)], request.param)


@pytest.mark.real_data
def test_unseen_fields_of_the_same_bacteria_are_not_flagged(coli, real_data):
    from tifffile import imread

    for number in (7, 8):
        image = imread(real_data / "ecoli_phase_fluorescence" / f"ecoli_HG105_{number}_phase.tif")
        assert check_input(coli, image[None]) == []


def planes_of_other_kinds(root):
    """Yield the name and one slice, (Y, X), of every real image that shows something else."""
    from tifffile import imread

    from napari_vstain.core.data import open_dataset

    embryo = imread(root / "embryo_transmission_fluorescence" / "xyc_16bit__embryo_transmission_fluorescence.tif")
    yield from ((f"embryo {channel}", plane) for channel, plane in enumerate(embryo))
    for path in sorted((root / "nuclei_labels_dsb2018").glob("*_img.tif")):
        yield path.name, imread(path).reshape(*imread(path).shape[:2], -1)[..., 0]
    yield "stardist 2D", imread(root / "nuclei_labels_stardist" / "img2d.tif")
    yield "stardist 3D", imread(root / "nuclei_labels_stardist" / "img3d.tif")[15]
    (fractal,) = (root / "omezarr_v04_fractal").glob("*.zarr")
    position = next(iter(open_dataset(fractal).positions.values()))
    for level in position.levels()[:2]:
        for channel in range(level.shape[1]):
            yield f"fractal {level.shape} {channel}", np.asarray(level[0, channel, 0])


@pytest.mark.real_data
def test_real_images_of_other_kinds_are_flagged(coli, real_data):
    images = dict(planes_of_other_kinds(real_data))
    assert len(images) == 25
    taken_for_like = [name for name, plane in images.items() if not check_input(coli, plane[None])]
    assert len(taken_for_like) <= 2, taken_for_like


@pytest.mark.real_data
def test_real_images_of_other_makers_are_flagged(coli, real_data):
    nd2 = pytest.importorskip("nd2")
    for path in (real_data / "nd2_arcadia").glob("*.nd2"):
        assert any(check_input(coli, channel[None]) for channel in nd2.imread(path)), path.name


@pytest.mark.real_data
def test_another_bacterium_is_not_taken_for_inverted_contrast(coli, real_data, record_property):
    from tifffile import imread

    image = imread(real_data / "ecoli_phase_fluorescence" / "bsub_100x_phase.tif")
    (found,) = novelty(coli, image[None, None])
    record_property("score", found.score)
    assert found.score < 1.3 and "other way round" not in found.reason


@pytest.mark.real_data
@pytest.mark.parametrize("number", [7, 8])
def test_bacteria_of_which_a_part_is_inverted_are_flagged(coli, real_data, number):
    from tifffile import imread

    image = imread(real_data / "ecoli_phase_fluorescence" / f"ecoli_HG105_{number}_phase.tif").astype(np.float32)
    (whole,) = novelty(coli, (image.max() + image.min() - image)[None, None])
    assert whole.unlike and whole.reason == "bright and dark are the other way round"
    edge = int(0.4 * image.shape[1])
    image[:, :edge] = 2 * np.median(image) - image[:, :edge]
    (part,) = novelty(coli, image[None, None])
    assert part.unlike
