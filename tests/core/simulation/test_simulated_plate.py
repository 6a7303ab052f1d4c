"""The sample plate is the same for the same seed, says that it is simulated, and is neither trivial nor impossible."""

import numpy as np
import pytest

from napari_vstain.core.data import open_dataset, recorded
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.progress import Cancelled, CancelToken, Progress
from napari_vstain.core.simulation import simulate_plate
from napari_vstain.core.simulation.cells import Blob
from napari_vstain.core.simulation.optics import ObjectiveLens, expose, fluorescence


def small(path, **options):
    return simulate_plate(path, **{"wells": ("A/1", "B/2"), "fields": 1, "size": 96, **options})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_plate_is_as_asked_and_labelled_as_simulated(tmp_path, version):
    dataset = open_dataset(small(tmp_path / "s.zarr", fields=2, slices=3, version=version))
    assert list(dataset.positions) == ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]
    assert dataset.channels == ("Phase", "Nuclei", "Membrane")
    assert recorded(dataset, "simulated") is True
    plate = dataset.attribute("plate") if version == "0.4" else dataset.attribute("ome")["plate"]
    assert plate["name"] == "s (simulated)"
    for position in dataset.positions.values():
        assert (position.shape, position.dtype) == ((1, 3, 3, 96, 96), np.uint16)
        assert position.spacing_um == (2.0, 0.325, 0.325)
        assert recorded(position, "simulated") is True


def test_a_seed_fixes_every_pixel_and_another_changes_them(tmp_path):
    plates = [open_dataset(small(tmp_path / f"{n}.zarr", seed=seed)) for n, seed in enumerate((5, 5, 6))]
    first, same, other = (plate.position("B/2/0").read(plate.channels) for plate in plates)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, plates[0].position("A/1/0").read(plates[0].channels))


def test_the_trivial_baseline_sees_the_stains_but_far_from_all(tmp_path):
    from scipy.ndimage import gaussian_filter

    dataset = open_dataset(simulate_plate(tmp_path / "s.zarr", fields=2, size=256))
    images = [dataset.position(key).read(dataset.channels)[:, 0].astype(float) for key in ("A/1/0", "A/1/1", "B/2/0")]

    def features(phase):
        deviations = (
            np.sqrt(np.maximum(gaussian_filter(phase**2, s) - gaussian_filter(phase, s) ** 2, 0)) for s in (2, 4, 8)
        )
        return np.stack([np.ones_like(phase), phase, *deviations], -1).reshape(-1, 5)

    for stain in (1, 2):
        known = np.vstack([features(image[0]) for image in images[:2]])
        weights, *_ = np.linalg.lstsq(known, np.concatenate([image[stain].ravel() for image in images[:2]]))
        found = np.corrcoef(features(images[2][0]) @ weights, images[2][stain].ravel())[0, 1]
        assert 0.2 < found < 0.9


def test_a_stopped_simulation_leaves_nothing(tmp_path):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        small(tmp_path / "s.zarr", progress=Progress(token))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    small(tmp_path / "s.zarr")
    with pytest.raises(DatasetError, match="is there already"):
        small(tmp_path / "s.zarr")


def test_light_that_meets_nothing_is_even_and_of_intensity_one():
    image = ObjectiveLens().phase_contrast(np.zeros((64, 48), "float32"), 0.325)
    np.testing.assert_allclose(image, 1, atol=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_thick_objects_are_dark_and_thin_ones_bright_in_positive_phase_contrast(sign):
    y, x = np.mgrid[:128, :128] - 64
    object_um = (sign * 0.02 * np.exp(-(x**2 + y**2) / 50)).astype("float32")
    image = ObjectiveLens().phase_contrast(object_um, 0.325)
    assert sign * (1 - image[64, 64]) > 0.1


def test_fluorescence_keeps_the_light_and_defocus_spreads_it():
    stain = np.zeros((129, 129), "float32")
    stain[64, 64] = 1000
    sharp, blurred = (fluorescence(stain, 0.325, 0.75, 0.5, defocus) for defocus in (0, 4))
    assert sharp.sum() == pytest.approx(1000, rel=0.02)
    assert blurred.sum() == pytest.approx(1000, rel=0.02)
    assert blurred.max() < sharp.max() / 3


def test_the_camera_counts_with_shot_noise():
    counts = expose(np.random.default_rng(0), np.full((400, 400), 900.0), gain=2, offset=100, read_noise=3).astype(
        float
    )
    assert counts.mean() == pytest.approx(100 + 2 * 900, rel=0.005)
    assert counts.std() == pytest.approx(2 * np.sqrt(900 + 9), rel=0.02)


def test_a_blob_has_the_volume_of_half_an_ellipsoid():
    window, thickness = Blob(10, 10, 6, 3).thickness(0.1, (200, 200))
    assert thickness.sum() * 0.01 == pytest.approx(2 / 3 * np.pi * 36 * 3, rel=0.01)
    assert thickness.shape == tuple(part.stop - part.start for part in window)
