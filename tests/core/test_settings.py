"""Settings survive YAML, and every mistake in them is one clear sentence."""

import json
import time
from typing import ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from napari_vstain.core.errors import SettingsError, StorageError
from napari_vstain.core.files import atomically, write_text
from napari_vstain.core.overrides import merged
from napari_vstain.core.settings import Settings, load_config, resolve


class Tiles(Settings):
    """Settings for the tests."""

    size: int = Field(512, ge=1, title="Tile size", description="Owned region, in pixels.")
    names: tuple[str, ...] = ()


@given(size=st.integers(1, 10**6), names=st.lists(st.text() | st.text("\\${}a."), max_size=3))
def test_settings_to_yaml_to_settings_is_the_identity(tmp_path_factory, size, names):
    path = tmp_path_factory.mktemp("settings") / "tiles.yml"
    settings = Tiles(size=size, names=tuple(names))
    settings.save(path)
    assert Tiles.load(path) == settings


def test_references_are_resolved_and_auxiliary_values_dropped():
    values = {"_aux": {"n": 3}, "a": "${_aux.n}", "b": {"_aux": {"m": 1}, "c": ["${a}", "x-${b._aux.m}"]}}
    assert resolve(values) == {"a": 3, "b": {"c": [3, "x-1"]}}


_NAMES = st.sampled_from("abc")
_TEXTS = st.text("ab\\\\. ", max_size=4)
_REFERRED = st.sampled_from(
    ["${a}", "${b}", "${c.a}", "${c.b}", "${d[0]}", "${d.1}", "${.a}", "${..b}", "\\${a}", "${${c.b}}"]
)
_LEAVES = st.integers() | st.booleans() | st.none() | st.lists(_TEXTS | _REFERRED, max_size=3).map("".join)


@given(
    values=st.fixed_dictionaries(
        {"a": _LEAVES, "b": _LEAVES, "c": st.dictionaries(_NAMES, _LEAVES), "d": st.lists(_LEAVES, max_size=2)}
    )
)
def test_references_lead_where_omegaconf_leads(values):
    try:
        expected = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except (OmegaConfBaseException, RecursionError, ValueError):
        with pytest.raises(SettingsError) as caught:
            resolve(values)
        assert "\n" not in str(caught.value)
    else:
        assert resolve(values) == expected


_BOMBS = {
    "aliases": "\n".join(["_aux:", "  n0: &n0 [x, x]", *(f"  n{i + 1}: &n{i + 1} [*n{i}, *n{i}]" for i in range(40))]),
    "merged": "\n".join(["n0: &n0 {a: 1}", *(f"n{i + 1}: &n{i + 1} {{<<: [*n{i}, *n{i}]}}" for i in range(40))]),
    "an alias of itself": "a: &a [*a]",
    "references in a text": "\n".join(["n0: x", *(f"n{i + 1}: '${{n{i}}}${{n{i}}}'" for i in range(40))]),
    "references in a list": "\n".join(["n0: x", *(f"n{i + 1}: ['${{n{i}}}', '${{n{i}}}']" for i in range(40))]),
    "references in _aux": "\n".join(
        ["_aux:", "  n0: x", *(f"  n{i}: ['${{.n{i - 1}}}', '${{.n{i - 1}}}']" for i in range(1, 40))]
    ),
    "references in a circle": "a: ${b}\nb: ${a}",
    "sections in a circle": "a: ['${b}', '${b}']\nb: ['${a}', '${a}']",
    "a section in itself": "a: {b: '${a}'}",
    "a chain": "\n".join(f"n{i}: ${{n{i + 1}}}" for i in range(3000)),
    "brackets": "a: '" + "${a" * 100_000 + "}" * 100_000 + "'",
    "deep": "a: " + "[" * 3000 + "]" * 3000,
    "deeper": "[" * 100_000,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(2000)),
    "digits": "a: " + "9" * 5000,
    "digits of base 60": "a: " + ":".join(["1"] * 500_000),
    "many": "a: [" + "x," * 1_000_000 + "]",
    "long": "a: " + "x" * 5_000_000,
    "no text": "a: \0",
}  # fmt: skip


@pytest.mark.parametrize("text", _BOMBS.values(), ids=_BOMBS)
def test_a_file_that_would_never_end_is_one_sentence_at_once(tmp_path, text):
    path = tmp_path / "bomb.yml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(SettingsError) as caught:
        load_config(path)
    assert time.process_time() - began < 1
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/nowhere"])
def test_what_is_no_file_is_not_read(path):
    with pytest.raises(SettingsError, match=r"is no file|is a folder|is not there"):
        load_config(path)


def test_long_and_shared_settings_still_open(tmp_path):
    keys = [f"A/{i}/000" for i in range(20_000)]
    path = tmp_path / "long.yml"
    path.write_text("\n".join(["_aux:", "  all: &all", *(f"    - {key}" for key in keys), "a: *all", "b: ${_aux.all}"]))
    assert load_config(path) == {"a": keys, "b": keys}


def test_a_long_run_of_backslashes_is_saved_and_read_at_once(tmp_path):
    began = time.process_time()
    settings = Tiles(names=("\\" * 300_000 + "x${",))
    settings.save(tmp_path / "t.yml")
    assert Tiles.load(tmp_path / "t.yml") == settings
    assert time.process_time() - began < 2


def test_another_class_brings_none_of_the_old_ones_arguments():
    values = {"network": {"class_path": "a.UNet", "init_args": {"features": [1, 2]}}, "lr": 1}
    swapped = {"network": {"class_path": "b.Other", "init_args": {"width": 3}}, "lr": 1}
    for order in (1, -1):
        overrides = ["network.class_path=b.Other", "network.init_args.width=3"][::order]
        assert resolve(values, overrides) == swapped
    assert resolve(values, ["network.class_path=a.UNet", "lr=1e-3"]) == {**values, "lr": 0.001}
    assert merged(values, {"network": swapped["network"]}) == swapped


def test_items_of_a_list_are_overridden_by_number():
    assert resolve({"a": [{"x": 1}, {"x": 2}]}, ["a.1.x=5", "a[0].x=4"]) == {"a": [{"x": 4}, {"x": 5}]}


class Renamed(Settings):
    """Settings of which a field was called otherwise before."""

    former_names: ClassVar = {"before": "now"}
    now: dict[str, int] = Field({})


@pytest.mark.parametrize("values", [{"now": {"a": 1}}, {"before": {"a": 1}}, {"before": {"a": 1}, "now": {"a": 1}}])
def test_a_field_is_known_by_its_former_name_too_and_is_saved_by_its_new_one(tmp_path, values):
    (tmp_path / "old.yml").write_text(yaml.safe_dump(values))
    settings = Renamed.load(tmp_path / "old.yml")
    assert settings.model_dump() == {"now": {"a": 1}}
    assert Renamed.model_validate_json(json.dumps(values)) == settings


def test_a_field_said_by_both_its_names_is_put_together_or_refused(tmp_path):
    (tmp_path / "old.yml").write_text("before: {a: 1}")
    assert Renamed.load(tmp_path / "old.yml", ["now.b=2"]).now == {"a": 1, "b": 2}
    with pytest.raises(SettingsError, match="before is the former name of now, and they disagree"):
        Renamed.load(tmp_path / "old.yml", ["now.a=2"])


@pytest.mark.parametrize("override", ["=5", "a", "a=[1", ".=1"])
def test_an_override_that_is_none_is_one_sentence(override):
    with pytest.raises(SettingsError):
        resolve({}, [override])


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "tiles.yml"
    path.write_text("size: 256\n")
    assert Tiles.load(path, ["size=128"]).size == 128


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise: 3", "sise: is no setting of Tiles; use one of size, names."),
        ("size: 0", "size 0: input should be greater than or equal to 1; correct the value."),
        ("size: ${nothing}", r"size '\$\{nothing\}': leads to nothing: .*; correct the reference"),
        ("size: [", "is not YAML"),
        ("- 3", "must hold `name: value` lines"),
        ("preset: nothing", "preset 'nothing': no preset of this name"),
        ("size: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, text, message):
    path = tmp_path / "tiles.yml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        Tiles.load(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yml': is not there"):
        load_config(tmp_path / "nowhere.yml")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "settings.yml"
    write_text(path, "old")

    def interrupted():
        with atomically(path) as temporary:
            temporary.write_text("new, half wri")
            raise InterruptedError("power cut")

    with pytest.raises(StorageError):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_saved_settings_are_plain_yaml(tmp_path):
    Tiles(names=("a",)).save(tmp_path / "t.yml")
    assert yaml.safe_load((tmp_path / "t.yml").read_text()) == {"size": 512, "names": ["a"]}
