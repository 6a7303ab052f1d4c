"""Settings survive YAML, and every mistake in them is one clear sentence."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from napari_vstain.core.errors import SettingsError, StorageError
from napari_vstain.core.files import atomically, write_text
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


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "tiles.yml"
    path.write_text("size: 256\n")
    assert Tiles.load(path, ["size=128"]).size == 128


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise: 3", "sise: is no setting of Tiles; use one of size, names."),
        ("size: 0", "size 0: input should be greater than or equal to 1; correct the value."),
        ("size: ${nothing}", "size: .*nothing.*not found; correct the reference"),
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
    with pytest.raises(SettingsError, match=r"nowhere\.yml': cannot be read"):
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
