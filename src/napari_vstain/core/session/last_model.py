"""The model that was used last in a workspace, and with none, remembered from one session to the next."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from napari_vstain.core.errors import VstainError
from napari_vstain.core.files import state_folder, write_text
from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.session.open_models import Model, model_at
from napari_vstain.core.settings import Settings
from napari_vstain.core.workspace import Workspace

_log = logging.getLogger(__name__)
Stamps = tuple[tuple[int, int], ...]
"""Time of change and size of each file."""


class LastModel(Settings):
    """What is written down of a model: with its spec, so that recalling it reads no weights and measures nothing."""

    former_names: ClassVar[Mapping[str, str]] = {"elsewhere": "notes"}

    workspace: str
    """Its root; "" for none."""
    path: Path
    experiment: str = ""
    run: str = ""
    notes: ModelNotes | None = None
    spec: ModelSpec
    stamps: Stamps
    """Of the model's file, and of the configuration that was given with it."""


def remember_model(model: Model, workspace: Workspace | None) -> None:
    """Write down which model is used; where that cannot be written, nothing is remembered."""
    try:
        write_text(_place(workspace), _written(model, workspace).model_dump_json(indent=1))
    except OSError as error:
        _log.info("the model is not remembered for the next time: %s", error)


def recall_model(workspace: Workspace | None) -> Model | None:
    """Return the model that was used last; None when there is none, or it is gone or cannot be read any more."""
    try:
        return _read(LastModel.model_validate_json(_place(workspace).read_text(encoding="utf-8")), workspace)
    except (OSError, ValueError, VstainError) as error:
        _log.info("no model is preselected: %s", error)
        return None


def _written(model: Model, workspace: Workspace | None) -> LastModel:
    path, notes = model.path.absolute(), model.notes and model.notes.absolute()
    run = model.run if model.run and workspace and model.run.experiment.root == workspace.root else None
    return LastModel(
        workspace=_root(workspace),
        path=path,
        experiment=run.experiment.name if run else "",
        run=run.name if run else "",
        notes=notes,
        spec=model.spec,
        stamps=_stamps(path, notes),
    )


def _read(last: LastModel, workspace: Workspace | None) -> Model:
    run = workspace.experiment(last.experiment).run(last.run) if workspace and last.experiment else None
    path = run.checkpoint if run else last.path
    if path == last.path and _stamps(path, last.notes) == last.stamps:
        return Model(path, last.spec, run, last.notes)
    return model_at(path, run, last.notes)


def _place(workspace: Workspace | None) -> Path:
    name = hashlib.sha256(_root(workspace).encode()).hexdigest()[:24]
    return state_folder("last_models") / f"{name}.json"


def _root(workspace: Workspace | None) -> str:
    return str(workspace.root) if workspace else ""


def _stamps(path: Path, notes: ModelNotes | None) -> Stamps:
    files = (path,) if notes is None or notes.config is None else (path, notes.config)
    return tuple((found.st_mtime_ns, found.st_size) for found in (file.stat() for file in files))
