"""What a model says of itself keeps its fingerprint, whatever fields come later."""

from napari_vstain.core.models import ModelSpec, Normalization, OutputSpec, Statistics

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
