"""metrics.csv is tidy: one row a unit, the same columns for every experiment, and a README that explains them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_vstain.core.evaluation.columns import METRICS, OTHER_COLUMNS
from napari_vstain.core.files import atomically, write_text, writing
from napari_vstain.core.locks import locked

if TYPE_CHECKING:
    import pandas as pd

_NAN = float("nan")
_LATER = ("prediction", "target")
"""Columns that tables of earlier versions do not have."""
COLUMNS = (
    "experiment", "run", "model", "predictor", "dataset", "position", "split", "verdict", "channel", "t", "z", "level",
    "object_id", "mask", "prediction", "target",
)  # fmt: skip
"""What a row is of; a column a metric follows."""


class Row(NamedTuple):
    """One unit and its metrics."""

    experiment: str
    run: str
    model: str
    predictor: str
    dataset: str
    position: str
    split: str
    verdict: str
    channel: str
    t: int
    z: int | None
    level: str
    object_id: int | None
    mask: str
    metrics: dict[str, float]
    prediction: str = ""
    target: str = ""


def to_table(rows: list[Row]) -> "pd.DataFrame":
    """Return rows as a table with the columns of `COLUMNS`, then of `METRICS`: empty where a row's family has none."""
    import pandas as pd

    values = [
        [*(getattr(row, name) for name in COLUMNS), *(row.metrics.get(name, _NAN) for name in METRICS)] for row in rows
    ]
    table = pd.DataFrame(values, columns=[*COLUMNS, *METRICS])
    return table.astype({"t": "int64", "z": "Int64", "object_id": "Int64"} | dict.fromkeys(METRICS, "float64"))


def read_table(path: Path) -> "pd.DataFrame":
    """Return a table as `write_table` wrote it; columns that came later are empty in one of an earlier version."""
    import pandas as pd

    text = {name: str for name in COLUMNS if name not in ("t", "z", "object_id")}
    table = pd.read_csv(path, dtype=text | {"z": "Int64", "object_id": "Int64"}, keep_default_na=False, na_values=[""])
    table = table.assign(**{name: "" for name in _LATER if name not in table})
    known = [*COLUMNS, *METRICS]
    table = table[[*(name for name in known if name in table), *(name for name in table if name not in known)]]
    return table.fillna(dict.fromkeys(text, ""))


def write_table(
    table: "pd.DataFrame",
    path: Path,
    readme: str,
    keep: "Callable[[pd.DataFrame], pd.DataFrame]" = lambda others: others,
) -> None:
    """Write metrics.csv and metrics.README, each atomically; rows of other units and runs stay if they can.

    They can when the README of the file that is there defines the metrics as `readme` does. Otherwise they go, since
    one column cannot mean two things. Several processes may write to one table at once.

    Parameters
    ----------
    keep : callable
        Returns which of the rows of others stay.
    """
    beside = path.with_suffix(".README")
    with locked(path):
        kept = None
        if _definitions(_text(beside)) == _definitions(readme):
            kept = _others(table, path)
            kept = None if kept is None else keep(kept)
        else:
            with writing(beside):
                beside.unlink(missing_ok=True)  # or rows of the old definitions would pass for new ones after a crash
        with atomically(path) as temporary:
            _joined(kept, table).to_csv(temporary, index=False)
        write_text(beside, readme)


def _others(table: "pd.DataFrame", path: Path) -> "pd.DataFrame | None":
    import pandas as pd

    if not path.is_file():
        return None
    known = read_table(path)
    if list(known.columns) != list(table.columns):
        return None
    unit = ["run", "dataset", "position"]
    return known[~pd.MultiIndex.from_frame(known[unit]).isin(pd.MultiIndex.from_frame(table[unit]))]


def _joined(kept: "pd.DataFrame | None", table: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return table if kept is None or kept.empty else pd.concat([kept, table], ignore_index=True)


def _definitions(readme: str | None) -> str | None:
    """Return what a README says of the metrics; what it says of the other columns changes no number."""
    return None if readme is None else readme.partition(OTHER_COLUMNS)[0]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
