"""Transforms, sampler and loader of a training have their place in its file, and are swapped there by their paths."""

import numpy as np
import pytest
import torch

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.models.files.checkpoint import load_checkpoint
from napari_vstain.core.overrides import merged, parse_overrides
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import resolve
from napari_vstain.core.training import TrainSettings, run
from napari_vstain.core.training.augmentation import FlipAndRotate, JitterIntensity
from napari_vstain.core.training.parsing import build

from .conftest import changed, quick

PARTS = """
import numpy as np
from napari_vstain.core.training.augmentation import Transform
from napari_vstain.core.training.patch_index import PatchIndex, Place

SEEN = []


class Noise(Transform):
    def __init__(self, sigma=1.0):
        self.sigma = sigma

    def __call__(self, patch, sources, random):
        noise = random.normal(0, self.sigma, patch.shape).astype(np.float32)
        noise[sources:] = 0
        return patch + noise


class Half(Transform):
    def __call__(self, patch, sources, random):
        return patch[..., ::2]


class HardPlaces(PatchIndex):
    def __init__(self, reader, hardest=(0, 0)):
        self.reader, self.hardest = reader, hardest

    def draw(self, count, random):
        assert all(stack.pixels is not None for stack in self.reader.stacks)
        SEEN.extend(drawn := [Place(0, 0, *self.hardest) for _ in range(count)])
        return drawn

    def where(self, **query):
        return self
"""
PATH = "data.init_args"
ALL = [
    {"class_path": "napari_vstain.nn.FlipAndRotate", "init_args": {"rotate": False}},
    {"class_path": "napari_vstain.nn.JitterIntensity", "init_args": {"brightness": 0.5, "contrast": 0.1}},
]


@pytest.fixture(autouse=True)
def own_parts(tmp_path, monkeypatch):
    (tmp_path / "lab_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)


def weights(settings, workspace):
    _, network = load_checkpoint(run(settings, workspace, Progress()).run.last)
    return torch.cat([value.double().ravel() for value in network.state_dict().values()]).numpy()


def test_transforms_sampler_and_workers_that_are_named_train_to_the_same_weights_as_the_settings_of_patches(workspace):
    told = changed(quick(epochs=1), f"{PATH}.patches.rotate", False)
    told = changed(changed(told, f"{PATH}.patches.brightness", 0.5), f"{PATH}.patches.contrast", 0.1)
    named = changed(quick(epochs=1), f"{PATH}.transforms", ALL)
    named = changed(named, f"{PATH}.sampler", {"class_path": "napari_vstain.nn.RandomPlaces"})
    named = changed(named, f"{PATH}.patches.workers", 3)
    expected = weights(told, workspace)
    np.testing.assert_array_equal(weights(named, workspace), expected)
    assert not np.array_equal(weights(quick(epochs=1), workspace), expected)


def test_a_sampler_and_a_transform_of_ones_own_are_named_by_their_paths_and_run_again_from_the_file(workspace):
    import lab_parts

    settings = changed(quick(epochs=1), f"{PATH}.transforms", [{"class_path": "lab_parts.Noise"}])
    sampler = {"class_path": "lab_parts.HardPlaces", "init_args": {"hardest": [5, 7]}}
    result = run(changed(settings, f"{PATH}.sampler", sampler), workspace, Progress())
    assert {(place.y, place.x) for place in lab_parts.SEEN} == {(5, 7)}
    _, network = load_checkpoint(result.run.last)
    again = weights(TrainSettings.load(result.run.config), workspace)
    np.testing.assert_array_equal(again, torch.cat([v.double().ravel() for v in network.state_dict().values()]).numpy())


def test_a_class_that_takes_the_place_of_another_brings_none_of_its_arguments():
    sampler = {"class_path": "lab_parts.HardPlaces", "init_args": {"hardest": [5, 7]}}
    values = changed(changed(quick(), f"{PATH}.transforms", ALL), f"{PATH}.sampler", sampler).model_dump(mode="json")
    overrides = [
        f"{PATH}.sampler.class_path=napari_vstain.nn.RandomPlaces", f"{PATH}.transforms.0.class_path=lab_parts.Noise",
    ]  # fmt: skip
    data = resolve(values, overrides)["data"]["init_args"]
    assert data["sampler"] == {"class_path": "napari_vstain.nn.RandomPlaces"}
    assert data["transforms"] == [{"class_path": "lab_parts.Noise"}, ALL[1]]
    built = build(TrainSettings.parse(resolve(values, overrides))).data
    assert [type(one).__name__ for one in built.transforms] == ["Noise", "JitterIntensity"]
    kept = merged(values, parse_overrides([f"{PATH}.transforms.1.init_args.contrast=0"]))
    _, jitter = build(TrainSettings.parse(kept)).data.transforms
    assert (jitter.brightness, jitter.contrast) == (0.5, 0)


def test_a_file_that_names_no_transforms_has_those_of_its_patches():
    flip, jitter = build(changed(quick(), f"{PATH}.patches.flip", False)).data.transforms
    assert (type(flip), flip.flip, flip.rotate) == (FlipAndRotate, False, True)
    assert (type(jitter), jitter.brightness, jitter.contrast) == (JitterIntensity, 1, 0.2)
    assert build(changed(quick(), f"{PATH}.transforms", [])).data.transforms == ()


def both_say_something():
    return changed(changed(quick(), f"{PATH}.transforms", ALL), f"{PATH}.patches.flip", False)


WRONG = {
    "both the list and the patches": (both_say_something(), r"patches.flip.*is not looked at where transforms"),
    "a transform that cuts": (
        changed(quick(), f"{PATH}.transforms", [{"class_path": "lab_parts.Half"}]), r"'Half': made .* keep the shape",
    ),
    "no such transform": (changed(quick(), f"{PATH}.transforms", [{"class_path": "no.such.Thing"}]), "no.such.Thing"),
    "a loss for a transform": (
        changed(quick(), f"{PATH}.transforms", [{"class_path": "torch.nn.MSELoss"}]), "transforms.*MSELoss",
    ),
    "a network for a sampler": (
        changed(quick(), f"{PATH}.sampler", {"class_path": "torch.nn.ReLU"}), "torch.nn.ReLU.: is no PatchIndex",
    ),
    "no workers": (changed(quick(), f"{PATH}.patches.workers", 0), "patches.workers '0'.*greater than or equal to 1"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), WRONG.values(), ids=WRONG)
def test_a_part_that_does_not_fit_is_one_sentence_and_leaves_nothing(workspace, settings, message):
    with pytest.raises(SettingsError, match=message) as raised:
        run(settings, workspace, Progress())
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    assert not list((workspace.root / "models").rglob("*.*"))
