"""Labels and verdicts that somebody left in a store are read, and what is none is refused in one sentence."""

import numpy as np
import pytest
import zarr

from napari_vstain.core.data import create_plate, open_dataset, record
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.groundtruth import UNREVIEWED, GroundTruth

LABELS = np.random.default_rng(0).integers(0, 5, (2, 1, 3, 16, 20), "uint32")
"""T, C, Z, Y, X."""


def write_labels(group, labels, axes="tczyx", name="nuclei"):
    """Write labels as the standard says, with zarr alone."""
    parent = group.require_group("labels")
    parent.attrs["ome"] = {"version": "0.5", "labels": [name]}
    image = parent.require_group(name)
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    kinds = {"t": "time", "c": "channel"}
    said = {"axes": [{"name": a, "type": kinds.get(a, "space")} for a in axes], "datasets": datasets}
    image.attrs["ome"] = {"version": "0.5", "multiscales": [said], "image-label": {"version": "0.5"}}
    image.create_array("0", data=labels)


@pytest.fixture
def folder(tmp_path):
    with create_plate(tmp_path / "truth.zarr", ["Nuclei"]) as plate:
        for key in ("A/1/0", "A/2/0"):
            plate.add_position(key, (2, 1, 3, 16, 20), np.uint16)
    return tmp_path


def group_of(folder, key="A/1/0"):
    return zarr.open_group(folder / "truth.zarr" / key, mode="r+")


def test_labels_and_masks_of_a_position_are_read(folder):
    write_labels(group_of(folder), LABELS)
    position = open_dataset(folder / "truth.zarr").position("A/1/0")
    assert position.label_names() == ("nuclei",)
    np.testing.assert_array_equal(position.labels("nuclei").read(1), LABELS[1, 0])
    part = position.mask("nuclei", 1, slice(1, 2), slice(3, 9), slice(4, 8))
    assert part.dtype == bool
    np.testing.assert_array_equal(part, LABELS[1, 0, 1:2, 3:9, 4:8] != 0)


def test_labels_may_lack_axes(folder):
    write_labels(group_of(folder), LABELS[0, 0, 0], "yx")
    position = open_dataset(folder / "truth.zarr").position("A/1/0")
    np.testing.assert_array_equal(position.labels("nuclei").read(), LABELS[0, 0, :1])


@pytest.mark.parametrize(
    ("labels", "axes", "rule"),
    [
        (LABELS.astype("float32"), "tczyx", "number no objects"),
        (np.zeros((2, 8, 8), "uint16"), "cyx", "has 2 channels"),
    ],
)
def test_what_are_no_labels_is_refused(folder, labels, axes, rule):
    write_labels(group_of(folder), labels, axes)
    with pytest.raises(DatasetError, match=rule):
        open_dataset(folder / "truth.zarr").position("A/1/0").labels("nuclei")


def test_labels_that_lead_out_of_the_store_are_refused(folder):
    group_of(folder).require_group("labels").attrs["ome"] = {"version": "0.5", "labels": ["../../../other"]}
    with pytest.raises(DatasetError, match="leads out"):
        open_dataset(folder / "truth.zarr").position("A/1/0").labels("../../../other")


def test_labels_that_nobody_drew_are_said_to_lack(folder):
    position = open_dataset(folder / "truth.zarr").position("A/2/0")
    assert position.label_names() == ()
    with pytest.raises(DatasetError, match="has none"):
        position.mask("nuclei")


def test_the_ground_truth_gives_labels_and_verdicts(folder):
    write_labels(group_of(folder), LABELS)
    record(open_dataset(folder / "truth.zarr").position("A/1/0"), review={"verdict": "accepted"})
    truth = GroundTruth(folder)
    assert truth.verdicts() == {"A/1/0": "accepted"}
    assert truth.verdict("A/1/0") == "accepted"
    assert truth.verdict("A/2/0") == UNREVIEWED
    np.testing.assert_array_equal(truth.labels("A/1/0", "nuclei").read(0), LABELS[0, 0])
    with pytest.raises(DatasetError, match="draw them first"):
        truth.labels("A/2/0", "nuclei")


def test_where_nothing_was_said_there_is_no_verdict(tmp_path):
    assert GroundTruth(tmp_path / "nothing").verdicts() == {}
