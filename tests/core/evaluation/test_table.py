"""metrics.csv keeps the rows of others, however many write to it at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from napari_vstain.core.evaluation.columns import METRICS
from napari_vstain.core.evaluation.table import Row, read_table, to_table, write_table


def rows(position, value=1.0):
    said = ("e", "version_0", "e/version_0", "model", "d", position, "test", "", "Nuclei", 0, None, "volume", None, "")
    return to_table([Row(*said, dict.fromkeys(METRICS, value))])


def test_no_row_is_lost_between_several_writers(tmp_path):
    path = tmp_path / "metrics.csv"
    keys = [f"A/1/{number}" for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda key: write_table(rows(key), path, "readme"), keys))
    assert sorted(read_table(path)["position"]) == sorted(keys)
    assert {entry.name for entry in tmp_path.iterdir()} == {"metrics.csv", "metrics.README"}


def test_a_writer_that_dies_half_way_leaves_no_row_under_another_definition(tmp_path, monkeypatch):
    path = tmp_path / "metrics.csv"
    write_table(rows("A/1/0"), path, "by the range of the data")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", die)
        with suppress(KeyboardInterrupt):
            write_table(rows("A/1/1"), path, "by a fixed range")
    write_table(rows("A/1/2"), path, "by a fixed range")
    assert list(read_table(path)["position"]) == ["A/1/2"]
