"""Options say what the settings say, and give back what was typed."""

import argparse
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from napari_vstain.cli.options import add_options, chosen, missing
from napari_vstain.core.settings import Settings


class Kind(StrEnum):
    FIELD = "field"
    PLATE = "plate"


class Inner(Settings):
    level: Literal["dataset", "fov"] = Field("dataset", title="Level", description="Whose statistics.")


class Example(Settings):
    source: Path = Field(title="Source", description="Where the images are.")
    name: str = Field(title="Name", description="100 % yours.")
    channels: tuple[str, ...] = Field((), title="Channels", description="Which ones.")
    spacing_um: tuple[float, float, float] | None = Field(None, title="Voxel size", description="In µm, Z Y X.")
    size: int = Field(512, ge=1, le=4096, title="Size", description="In pixels.")
    quick: bool = Field(False, title="Quick", description="Be quick.")
    kind: Kind = Field(Kind.FIELD, title="Kind", description="What it is.")
    normalization: Inner = Field(Inner(), title="Normalization", description="How.")
    renamed: dict[str, str] = Field(default_factory=dict, title="Renamed", description="Old and new names.")
    extra: dict[str, Any] = Field(default_factory=dict, title="Extra", description="Anything.")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="x", allow_abbrev=False)
    add_options(made, Example, positional=("source",), short={"name": "-n"}, hidden=())
    return made


def parsed(*arguments: str) -> dict[str, Any]:
    return chosen(parser().parse_args(arguments))


def test_what_is_not_typed_is_left_to_the_settings():
    assert parsed() == {}
    assert missing(Example, parsed()) == ["source", "name"]


def test_every_kind_of_field_can_be_typed():
    values = parsed(
        *("images", "-n", "cells", "--channels", "Phase", "Nuclei", "--spacing-um", "1", "0.5", "0.5"),
        *("--renamed", "cfp=Fluorescence", "Phase", "a=b=c"),
        *("--size", "64", "--quick", "--kind", "plate", "--normalization.level", "fov"),
    )
    assert Example.parse(values) == Example(
        source=Path("images"),
        name="cells",
        channels=("Phase", "Nuclei"),
        spacing_um=(1, 0.5, 0.5),
        renamed={"cfp": "Fluorescence", "Phase": "Phase", "a": "b=c"},
        size=64,
        quick=True,
        kind=Kind.PLATE,
        normalization=Inner(level="fov"),
    )


@given(size=st.integers(1, 4096), quick=st.booleans(), kind=st.sampled_from(Kind), name=st.text(min_size=1))
def test_typing_the_settings_gives_the_settings(size, quick, kind, name):
    flag = "--quick" if quick else "--no-quick"
    values = parsed("here", f"--name={name}", f"--size={size}", flag, f"--kind={kind.value}")
    assert Example.parse(values) == Example(source=Path("here"), name=name, size=size, quick=quick, kind=kind)


def test_the_help_says_description_bounds_and_default():
    text = " ".join(parser().format_help().split())
    assert "In pixels. (at least 1; at most 4096; default: 512)" in text
    assert "100 % yours." in text
    assert "Be quick. (default: no)" in text
    assert "{dataset,fov} Whose statistics. (default: dataset)" in text
    assert "--extra" not in text


def test_a_value_that_is_none_of_the_choices_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        parsed("--kind", "moon")
    assert caught.value.code == 2
    assert "choose from" in capsys.readouterr().err
