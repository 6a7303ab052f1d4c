"""A workspace is a folder of four folders: datasets, models, evaluation, deployment."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from shlex import quote

import yaml

from napari_vstain.core.errors import WorkspaceError
from napari_vstain.core.experiments import Experiment
from napari_vstain.core.files import check_writable, reading, write_text, writing
from napari_vstain.core.yaml_text import read_yaml

FOLDERS = ("datasets", "models", "evaluation", "deployment")
LONGEST_NAME = 150
"""Letters of a name, so that a date, an ending and a temporary mark fit into the 255 of a file's."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


@dataclass(frozen=True)
class Workspace:
    """The folder tree that the five stages share; make one with `create` or `open`."""

    root: Path

    @classmethod
    def create(cls, root: Path | str) -> "Workspace":
        """Make the four folders under `root`; what is there already stays.

        Raises
        ------
        StorageError
            When `root` cannot be written.
        WorkspaceError
            When `root` is a file or an OME-Zarr.
        """
        path = Path(root).expanduser().absolute()
        _refuse_other_things(path)
        check_writable(path)
        for name in FOLDERS:
            with writing(path):
                (path / name).mkdir(exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, root: Path | str) -> "Workspace":
        """Return the workspace at `root`.

        Raises
        ------
        WorkspaceError
            When one of the four folders is missing.
        """
        path = Path(root).expanduser().absolute()
        _refuse_other_things(path)
        missing = [name for name in FOLDERS if not (path / name).is_dir()]
        if missing:
            rule = f"is no workspace, it has no folder {', '.join(missing)}"
            raise WorkspaceError("workspace", path, rule, f"make one with `vstain new {quote(str(path))}`")
        return cls(path)

    @staticmethod
    def is_one(root: Path | str) -> bool:
        """Return True if `root` has the four folders."""
        return all((Path(root) / name).is_dir() for name in FOLDERS)

    @property
    def datasets(self) -> Path:
        """Registered, preprocessed OME-Zarr stores, or links to stores elsewhere."""
        return self.root / "datasets"

    def dataset_names(self) -> list[str]:
        """Return the names of the datasets, linked ones included, sorted."""
        paths = [*self.datasets.glob("*.zarr"), *self.datasets.glob("*.link")]
        return sorted({path.stem for path in paths})

    def newest_dataset(self) -> str:
        """Return the name of the dataset that came last: by the day in its name, then by its oldest file; "" for none.

        Days are compared as days: the names do not sort by them.
        """
        return max(self.dataset_names(), key=self._came, default="")

    def dataset(self, name: str) -> Path:
        """Return where the dataset `name` is; `name` may leave out the date when that is unambiguous.

        Raises
        ------
        WorkspaceError
            When there is none, or several, or its link leads nowhere.
        """
        path = self.datasets / f"{self._full_name(name)}.zarr"
        return path if path.exists() else _follow(path.with_suffix(".link"))

    def find_dataset(self, name: str) -> Path:
        """Return the folder that `name` is the path of, else the dataset of that name; see `dataset`.

        A file of that path is returned too, unless a dataset has the name: what is wrong with it is said on opening.
        """
        path, is_path = Path(name), False
        with suppress(OSError, RuntimeError):  # longer than a path may be, or in the home of nobody
            path = path.expanduser()
            is_path = path.is_dir() or (path.is_file() and name not in self.dataset_names())
        return path.absolute() if name and is_path else self.dataset(name)

    def name_of(self, store: Path) -> str:
        """Return a dataset's name here, which stays when the workspace moves; else its path, spelled without links."""
        name = store.name.removesuffix(".zarr")
        here = store.resolve()
        return name if name in self.dataset_names() and self.dataset(name).resolve() == here else str(here)

    def new_dataset(self, name: str, on: date | None = None) -> Path:
        """Return the path for a new dataset, ``datasets/<yyyy_dd_mm>_<name>.zarr``; nothing is written."""
        path = self.datasets / f"{dated(checked_name('dataset', name), on)}.zarr"
        if path.exists():
            raise WorkspaceError("dataset", path.stem, "is there already", "choose another name")
        return path

    def link_dataset(self, store: Path | str) -> str:
        """Register a store that stays where it is; return its name here."""
        target = Path(store).expanduser().absolute()
        name = checked_name("dataset", re.sub(r"[^A-Za-z0-9_.\-]+", "_", target.name.removesuffix(".zarr")))
        link = self.datasets / f"{name}.link"
        if (self.datasets / f"{name}.zarr").exists() or (link.exists() and _follow(link) != target):
            raise WorkspaceError("dataset", name, "is there already", "rename the store before you link it")
        if not link.exists():  # its age says when the dataset came
            write_text(link, yaml.safe_dump({"path": str(target)}))
        return name

    def sidecar(self, store: Path | str) -> Path:
        """Return the folder for what belongs to a store that cannot be written itself."""
        return self.datasets / f"{Path(store).name.removesuffix('.zarr')}.sidecar"

    def experiments(self) -> list[str]:
        """Return the names of the experiments that have a folder under ``models/``."""
        return sorted(path.name for path in (self.root / "models").iterdir() if path.is_dir())

    def experiment(self, name: str) -> Experiment:
        """Return the experiment `name`, which need not exist yet."""
        return Experiment(self.root, checked_name("experiment", name))

    def _came(self, name: str) -> tuple[date, float]:
        path = self.datasets / f"{name}.zarr"
        store = [path, *path.iterdir()] if path.is_dir() else [path.with_suffix(".link")]
        began = min((file.stat().st_mtime for file in store if file.exists()), default=0.0)  # others are written later
        return _day_in(name) or date.fromtimestamp(began), began

    def _full_name(self, name: str) -> str:
        names = self.dataset_names()
        if name in names:
            return name
        matches = [known for known in names if known.split("_", 3)[3:] == [name]]
        if len(matches) == 1:
            return matches[0]
        rule = f"the workspace has {', '.join(matches or names) or 'no dataset'}"
        raise WorkspaceError("dataset", name, rule, "choose one of these, or import one with `vstain import`")


def dated(name: str, on: date | None = None) -> str:
    """Return a name with a day before it, today's if none is given, as datasets and experiments bear it."""
    return f"{on or date.today():%Y_%d_%m}_{name}"


def _day_in(name: str) -> date | None:
    try:
        return datetime.strptime(name[:10], "%Y_%d_%m").date()
    except ValueError:
        return None


def checked_name(field: str, name: str) -> str:
    """Return `name` if it can be a folder's name on every system.

    Raises
    ------
    WorkspaceError
        Otherwise.
    """
    if len(name) > LONGEST_NAME:
        shown = f"{name[:30]}…"
        raise WorkspaceError(field, shown, f"is longer than {LONGEST_NAME} letters", "choose a shorter name")
    if not _NAME.fullmatch(name):
        raise WorkspaceError(field, name, "may hold letters, digits, '_', '-' and '.' only", "choose another name")
    return name


def _refuse_other_things(path: Path) -> None:
    if path.is_file():
        raise WorkspaceError("workspace", path, "is a file", "choose a folder")
    if any((path / name).exists() for name in (".zgroup", ".zarray", "zarr.json")):
        raise WorkspaceError("workspace", path, "is an OME-Zarr", "choose the folder of the workspace, not of the data")


def _follow(link: Path) -> Path:
    with reading("dataset", link, "is a link that cannot be read", "link the dataset again", kind=WorkspaceError):
        target = Path(read_yaml(link, "dataset link", WorkspaceError)["path"])
    if not target.exists():
        raise WorkspaceError("dataset", link.stem, f"leads to {target}, which is not there", "mount or link it again")
    return target
