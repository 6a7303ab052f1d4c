"""What a model says of itself keeps its fingerprint, whatever fields come later."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models import ModelSpec, Normalization, OutputSpec, Statistics
from napari_vstain.core.models.spec import parse_spec

OLD = ModelSpec(
    weights="0123456789abcdef",
    sources=("Phase",),
    outputs=(OutputSpec(channels=("Nuclei",)),),
    stride=(1, 8, 8),
    halo=(0, 56, 56),
    source_normalization=Normalization(level="fov"),
    statistics={
        "Phase": Statistics(mean=1, std=2, median=3, iqr=4),
        "Nuclei": Statistics(mean=5, std=6, median=7, iqr=8, p1=0.5),
    },
    spacing_um=(1.0, 0.5, 0.5),
    config={"class_path": "a.B", "init_args": {"features": [2, 4]}},
)


def test_the_fingerprint_of_a_model_of_an_earlier_version_stays():
    assert OLD.fingerprint == "c239594791eec7c7"
    stored = OLD.model_dump(mode="json", exclude={"target_scale"})
    assert ModelSpec.parse(stored).fingerprint == "c239594791eec7c7"


def test_fixed_target_numbers_change_the_fingerprint_and_the_units():
    fixed = OLD.model_copy(update={"target_scale": {"Nuclei": (100.0, 50.0)}})
    assert fixed.fingerprint != OLD.fingerprint
    assert fixed.target_offset_and_divisor("Nuclei") == (100.0, 50.0)


@given(st.integers(OLD.schema_version + 1, 10**9), st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_a_model_of_a_later_version_is_refused_for_that_whatever_else_it_says(version, new):
    text = json.dumps({**json.loads(OLD.model_dump_json()), **new, "schema_version": version})
    with pytest.raises(
        ModelError, match=f"newer napari-vstain: its schema version is {version}, .*; update napari-vst"
    ):
        parse_spec(text, "checkpoint", Path("model.ckpt"))


@given(st.sampled_from(["", "[", "[" * 100_000, "3", "{}", '{"schema_version": "2"}', '{"schema_version": true}']))
def test_a_text_that_is_no_model_is_refused(text):
    with pytest.raises(ModelError, match="does not understand"):
        parse_spec(text, "checkpoint", Path("model.ckpt"))
