"""The pixels that were compared are noted with their sizes and times, so that they are not read again to be known."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_vstain.core.data import Dataset
from napari_vstain.core.data.identity import Identity, as_record, content_of, identify, is_still
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.files import write_text
from napari_vstain.core.locks import locked


class SeenPixels:
    """What the channels of a dataset's positions were when they were last read; what is lost is read again.

    Parameters
    ----------
    path : Path
        A file of notes, also on other datasets, which need not exist.
    """

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path, self._dataset = path, dataset
        self._known: dict[str, Any] = dict(_read(path).get(dataset.name, {}))

    def note(self, pixels: Mapping[tuple[str, str], Identity]) -> None:
        """Take up what positions are, by key and channel, as it was just read."""
        self._known |= {_place(*place): as_record(identity) for place, identity in pixels.items()}

    def digest(self, key: str, channel: str, check: Callable[[], None]) -> str:
        """Return the digest of one channel of a position as it is now; nothing if it is no longer there.

        The bytes are read only where sizes or times are others than were noted; `check` is called at each file then.
        """
        position = self._dataset.positions.get(key)
        if position is None or channel not in position.channels:
            return ""
        known = Identity.parse(self._known.get(_place(key, channel)))
        with suppress(DatasetError):
            if known is None or not is_still(position, [channel], replace(known, content="")):
                known = replace(identify(position, [channel]), content=content_of(position, [channel], check))
                self.note({(key, channel): known})
            return known.digest
        return known.digest if known else ""

    def save(self) -> None:
        """Write the notes, beside what others noted meanwhile."""
        with locked(self._path):
            known = _read(self._path)
            write_text(self._path, json.dumps({**known, self._dataset.name: self._known}))


def _place(key: str, channel: str) -> str:
    return f"{key}/{channel}"


def _read(path: Path) -> dict[str, Any]:
    """Return the notes of a file; none from one that is damaged."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
