"""A fingerprint is of what changes a prediction, and stays, whatever fields come later."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from napari_vstain.core.models import fingerprint
from napari_vstain.core.models.fingerprint import CAME_LATER, CHANGES_A_PREDICTION, CHANGES_NOTHING, fingerprint_of
from napari_vstain.core.models.spec import ModelSpec, Normalization, OutputSpec, Statistics

WRITTEN = json.loads((Path(__file__).parents[2] / "golden" / "fingerprints.json").read_text(encoding="utf-8"))
NUMBERS = st.floats(-1e12, 1e12)
ABOVE_0 = st.floats(1e-9, 1e12)
NAMES = st.text(min_size=1, max_size=6)
NORMALIZATIONS = st.builds(
    Normalization, level=st.sampled_from(["dataset", "fov", "timepoint"]), divide=st.sampled_from(["std", "iqr"])
)
STATISTICS = st.builds(Statistics, mean=NUMBERS, std=ABOVE_0, median=NUMBERS, iqr=ABOVE_0, p1=st.none() | NUMBERS)
SPECS = st.builds(
    ModelSpec,
    weights=st.text("0123456789abcdef", min_size=16, max_size=16),
    sources=st.lists(NAMES, min_size=1, max_size=2, unique=True).map(tuple),
    outputs=st.tuples(st.builds(OutputSpec, channels=st.lists(NAMES, min_size=1, max_size=3).map(tuple))),
    halo=st.tuples(st.integers(0, 3), st.integers(0, 99), st.integers(0, 99)),
    border=st.sampled_from(["reflect", "network", "zeros"]),
    source_normalization=NORMALIZATIONS,
    target_normalization=NORMALIZATIONS,
    target_scale=st.dictionaries(NAMES, st.tuples(NUMBERS, ABOVE_0), max_size=1),
    statistics=st.dictionaries(NAMES, STATISTICS, max_size=2),
    spacing_um=st.none() | st.tuples(st.none() | ABOVE_0, ABOVE_0, ABOVE_0),
    config=st.sampled_from([{}, WRITTEN["usual"]["spec"]["config"], WRITTEN["VisCy"]["spec"]["config"]]),
)
TYPES: dict[str, type[BaseModel]] = {kind.__name__: kind for kind in (ModelSpec, OutputSpec, Normalization, Statistics)}


@pytest.mark.parametrize("name", WRITTEN)
def test_models_of_version_1_keep_their_fingerprints(name):
    spec = ModelSpec.model_validate_json(json.dumps(WRITTEN[name]["spec"]))
    assert spec.fingerprint == WRITTEN[name]["fingerprint"]


@pytest.mark.parametrize("name", TYPES)
def test_of_every_field_it_is_said_whether_it_changes_a_prediction(name):
    said = [*CHANGES_A_PREDICTION[name], *CHANGES_NOTHING.get(name, ())]
    assert sorted(said) == sorted(TYPES[name].model_fields)
    assert TYPES.keys() == CHANGES_A_PREDICTION.keys()


@given(spec=SPECS, kind=st.sampled_from(sorted(TYPES)), new=st.sampled_from([(0, 1), ("none", "sigmoid"), (None, 2.5)]))
def test_a_field_that_comes_later_changes_no_fingerprint_until_it_is_used(spec, kind, new):
    before, (default, used) = spec.fingerprint, new
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHANGES_A_PREDICTION, kind, (*CHANGES_A_PREDICTION[kind], "to_come"))
        patch.setattr(fingerprint, "CAME_LATER", CAME_LATER | {"to_come"})
        later, changed = (_with_field(spec, kind, default, value) for value in (default, used))
        assert fingerprint_of(later) == before
        assert (fingerprint_of(changed) == before) == (kind == "Statistics" and not spec.statistics)


@given(SPECS)
def test_a_fingerprint_survives_a_file(spec):
    assert ModelSpec.model_validate_json(spec.model_dump_json()).fingerprint == spec.fingerprint


@given(SPECS, SPECS)
def test_models_have_one_fingerprint_if_and_only_if_they_predict_alike(one, other):
    alike = all(getattr(one, name) == getattr(other, name) for name in CHANGES_A_PREDICTION["ModelSpec"])
    assert (one.fingerprint == other.fingerprint) == alike
    beside = {"name": "other", "training": other.training, "versions": {"torch": "9"}}
    assert one.model_copy(update=beside).fingerprint == one.fingerprint


def _with_field(value: Any, kind: str, default: object, used: object) -> Any:
    """Return a value as a later version would hold it, whose type `kind` has a field more."""
    if isinstance(value, BaseModel):
        parts = {name: _with_field(part, kind, default, used) for name, part in value}
        if type(value).__name__ != kind:
            return value.model_copy(update=parts)
        later = create_model("Later", __base__=type(value), to_come=(Any, default))
        return later.model_construct(**parts, to_come=used)
    if isinstance(value, dict):
        return {key: _with_field(part, kind, default, used) for key, part in value.items()}
    return tuple(_with_field(part, kind, default, used) for part in value) if isinstance(value, tuple) else value
