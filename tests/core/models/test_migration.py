"""What version 1 said of a model opens for ever, whatever stood in its free mappings, and predicts the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import ModelError
from napari_vstain.core.models.calibration import COMPARABLE, Calibration
from napari_vstain.core.models.fingerprint import CHANGES_A_PREDICTION
from napari_vstain.core.models.migration import MODEL_SCHEMA, migrate
from napari_vstain.core.models.provenance import Training
from napari_vstain.core.models.spec import ModelSpec, parse_spec
from napari_vstain.core.models.split import Split

WRITTEN = json.loads((Path(__file__).parents[2] / "golden" / "fingerprints.json").read_text(encoding="utf-8"))
FILE = Path("model.ckpt")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FACTS = st.sampled_from(sorted(Training.model_fields))
SPLITS = st.fixed_dictionaries(
    {}, optional={part: JSON | st.lists(st.text() | JSON) for part in ("train", "validate", "test", "other")}
)
TRAININGS = st.dictionaries(FACTS | st.text(), JSON, max_size=5) | st.fixed_dictionaries({"positions": SPLITS})
RECORDS = st.dictionaries(st.sampled_from(["version", "channels"]) | st.text(), JSON, max_size=3).filter(
    lambda record: record.get("version") not in COMPARABLE and type(record.get("version")) is not bool
)
CHANNEL = {
    "features": [[0.5] * 14] * 4,
    "patches": 16,
    "limits": {group: [0, 1, 0, 1] for group in ("polarity", "structure", "saturation", "range")},
    "positions": 3,
    "std": 2.5,
    "gain": 0.1,
}


@given(name=st.sampled_from(sorted(WRITTEN)), training=TRAININGS, novelty=RECORDS)
def test_what_version_1_wrote_opens_with_its_fingerprint_and_all_that_changes_a_prediction(name, training, novelty):
    raw = {**WRITTEN[name]["spec"], "training": training, "novelty": novelty}
    spec = parse_spec(json.dumps(raw), "checkpoint", FILE)
    assert (spec.schema_version, spec.fingerprint) == (MODEL_SCHEMA, WRITTEN[name]["fingerprint"])
    plain = ModelSpec.model_validate_json(json.dumps(WRITTEN[name]["spec"]))
    assert all(getattr(spec, field) == getattr(plain, field) for field in CHANGES_A_PREDICTION["ModelSpec"])
    assert not spec.novelty.channels
    again = parse_spec(spec.model_dump_json(), "checkpoint", FILE)
    assert again == spec


@given(training=TRAININGS)
def test_a_fact_of_version_1_stays_where_it_has_its_type(training):
    known = ModelSpec.model_validate({**WRITTEN["usual"]["spec"], "training": training}).training
    for name in ("experiment", "run", "config", "dataset", "target_normalization", "made_by", "reach"):
        said = training.get(name)
        assert getattr(known, name) == (said if isinstance(said, str) else "")
    for name in ("batches_per_epoch", "epochs", "steps"):
        said = training.get(name)
        assert getattr(known, name) == (said if type(said) is int else None)


def test_a_split_of_version_1_may_lack_a_part():
    said = {**WRITTEN["usual"]["spec"], "training": {"positions": {"train": ["A/1/0"], "test": None}}}
    assert ModelSpec.model_validate(said).training.positions == Split(("A/1/0",))


@pytest.mark.parametrize("version", COMPARABLE)
def test_a_record_that_can_be_compared_with_is_kept_whole(version):
    novelty = {"version": version, "channels": {"Phase": CHANNEL}}
    spec = parse_spec(json.dumps({**WRITTEN["usual"]["spec"], "novelty": novelty}), "checkpoint", FILE)
    assert spec.novelty == Calibration.parse(novelty)
    assert json.loads(spec.novelty.model_dump_json()) == novelty


def test_migrating_twice_is_migrating_once():
    for model in WRITTEN.values():
        once = migrate(model["spec"])
        assert migrate(once) == once


BY_HAND = {
    "schema_version": ["2", True, 0, -1, 1.5, None],
    "training": [
        3, [], {"epochs": "three"}, {"dataset": 3}, {"datasett": "cells"}, {"positions": ["A/1/0"]},
        {"positions": {"train": "A/1/0"}}, {"positions": {"learn": []}}, {"metrics": {"loss": "low"}}, {"patches": 3},
    ],
    "novelty": [
        3, {"version": "3"}, {"version": True}, {"version": 3, "channels": 3}, {"version": 3, "channel": {}},
        {"version": 3, "channels": {"Phase": {}}}, {"version": 3, "channels": {"Phase": {**CHANNEL, "std": 0}}},
        {"version": 3, "channels": {"Phase": {**CHANNEL, "features": "far"}}},
        {"version": 2, "channels": {"Phase": {**CHANNEL, "limits": {"polarity": [0, 1]}}}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, given in BY_HAND.items() for value in given])
def test_a_wrong_type_in_a_file_that_was_edited_is_one_sentence_that_names_it(field, value):
    today = {**migrate(WRITTEN["usual"]["spec"]), field: value}
    with pytest.raises(ModelError, match=rf"does not understand \({field}\b") as caught:
        parse_spec(json.dumps(today), "checkpoint", FILE)
    assert "\n" not in str(caught.value)
