"""All published metadata of OME-NGFF 0.4 and 0.5 that is valid opens; what is invalid opens too, or says why not."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_vstain.core.data import open_dataset
from napari_vstain.core.errors import DatasetError

pytestmark = pytest.mark.real_data
SIZES = {"t": 2, "time": 2, "z": 3, "y": 6, "x": 5}


def entries(folder, kinds):
    """Yield (name, attributes, valid) of the test suites and of the examples of some kinds."""
    for version in ("0.4", "0.5"):
        for kind in kinds:
            for suite in (f"{kind}_suite", f"strict_{kind}_suite"):
                for test in json.loads((folder / version / "tests" / f"{suite}.json").read_text())["tests"]:
                    yield f"{version} {test['formerly']}", version, test["data"], test["valid"]
        for path in sorted((folder / version / "examples").rglob("*.json")):
            text = "\n".join(line for line in path.read_text().splitlines() if not line.strip().startswith("//"))
            said = json.loads(text)
            part = said.get("attributes", said)
            part = part.get("ome", part)
            if {"image": "multiscales", "plate": "plate", "well": "well"}[kinds[0]] in part:
                yield f"{version} {path.parent.name}/{path.name}", version, said.get("attributes", said), True


def group(folder: Path, version, attributes):
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(attributes))
    else:
        said = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(said))


def image(folder: Path, version, attributes):
    """Write the arrays that the metadata speaks of."""
    group(folder, version, attributes)
    with suppress(LookupError, TypeError, AttributeError, ValueError):
        for scales in attributes.get("ome", attributes)["multiscales"]:
            names = [axis["name"] for axis in scales["axes"]] if "axes" in scales else list("yx")
            shape = tuple(SIZES.get(name, 2) for name in names)
            for level in scales["datasets"]:
                zarr.create_array(folder / level["path"], shape=shape, dtype="u1", chunks=shape, overwrite=True,
                                  zarr_format=2 if version == "0.4" else 3)[...] = 7  # fmt: skip


SIMPLE = {
    "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}],
}


def simple(folder, version):
    said = {"multiscales": [SIMPLE]}
    image(folder, version, said if version == "0.4" else {"ome": {"version": version, **said}})


def opened(path, valid):
    """Return the dataset, or None for one that is invalid and says so."""
    try:
        dataset = open_dataset(path)
        for position in dataset.positions.values():
            assert np.all(position.read(position.channels) == 7)
    except DatasetError as error:
        text = str(error)
        if valid or not text.endswith(".") or "\n" in text:
            raise
        return None
    return dataset


def test_images(tmp_path, real_data):
    found = list(entries(real_data / "ngff_spec", ["image"]))
    assert len(found) > 60
    for number, (name, version, attributes, valid) in enumerate(found):
        path = tmp_path / f"{number}.zarr"
        image(path, version, attributes)
        assert opened(path, valid) or not valid, name


def test_plates(tmp_path, real_data):
    found = list(entries(real_data / "ngff_spec", ["plate"]))
    assert len(found) > 60
    for number, (name, version, attributes, valid) in enumerate(found):
        path = tmp_path / f"{number}.zarr"
        group(path, version, attributes)
        wells = []
        with suppress(LookupError, TypeError):
            wells = [well["path"] for well in attributes.get("ome", attributes)["plate"]["wells"]]
        for well in wells:
            said = {"well": {"images": [{"path": "0"}]}}
            group(path / well, version, said if version == "0.4" else {"ome": {"version": version, **said}})
            simple(path / well / "0", version)
        dataset = opened(path, valid)
        assert not valid or list(dataset.positions) == [f"{well}/0" for well in wells], name


def test_wells(tmp_path, real_data):
    found = list(entries(real_data / "ngff_spec", ["well"]))
    assert len(found) > 12
    for number, (name, version, attributes, valid) in enumerate(found):
        path = tmp_path / f"{number}.zarr"
        said = {"plate": {"wells": [{"path": "A/1"}]}}
        group(path, version, said if version == "0.4" else {"ome": {"version": version, **said}})
        group(path / "A/1", version, attributes)
        fields = [one["path"] for one in attributes.get("ome", attributes)["well"]["images"]]
        for field in fields:
            simple(path / "A/1" / field, version)
        dataset = opened(path, valid)
        assert not valid or list(dataset.positions) == [f"A/1/{field}" for field in fields], name
