"""Values are put over others, key by key; another class brings none of the arguments of the one that it replaces."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from napari_vstain.core.errors import SettingsError
from napari_vstain.core.import_paths import stable_paths
from napari_vstain.core.yaml_text import MOST_LEVELS, load_yaml

CLASS, ARGUMENTS = "class_path", "init_args"


def merged(below: Any, above: Any) -> Any:
    """Return `above` over `below`: mappings key by key at every level, items of lists by number, all else replaced.

    Where `above` names another `class_path` than `below`, nothing else of `below` is kept: its arguments belong to
    the class that goes.
    """
    if isinstance(below, list) and isinstance(above, Mapping) and _numbers(above, len(below)):
        return [merged(item, above[str(index)]) if str(index) in above else item for index, item in enumerate(below)]
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    if CLASS in above and stable_paths(below.get(CLASS, above[CLASS])) != stable_paths(above[CLASS]):
        below = {}
    kept = {key: merged(item, above[key]) if key in above else item for key, item in below.items()}
    return {**kept, **{key: item for key, item in above.items() if key not in kept}}


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return ``key.sub=value`` texts as one nested mapping; a value is YAML, a later one is over an earlier one.

    Raises
    ------
    SettingsError
        When one has no ``=`` or no name, or its value is no YAML.
    """
    together: dict[str, Any] = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        keys = re.findall(r"[^.\[\]]+", name)
        if not equals or not keys or len(keys) > MOST_LEVELS:
            raise SettingsError("--set", text, "is no KEY=VALUE", "write it as in trainer.max_epochs=5")
        nested = load_yaml(value, name, value, SettingsError, remedy="correct the value", floats=True)
        for key in reversed(keys):
            nested = {key: nested}
        together = merged(together, nested)
    return together


def _numbers(keys: Mapping[str, Any], length: int) -> bool:
    return bool(keys) and all(str(key).isdecimal() and int(key) < length for key in keys)
