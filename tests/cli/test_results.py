"""What a stage says at the end names the run that it is about, whichever stage it was."""

from pathlib import Path

import pytest

from napari_vstain.cli import evaluate, predict
from napari_vstain.cli.terminal import display
from napari_vstain.core.evaluation import EvaluateResult
from napari_vstain.core.evaluation.table import to_table
from napari_vstain.core.inference import PredictResult
from napari_vstain.core.inference.to_disk.forecast import Forecast

STORE = Path("predictions.zarr")
PREDICTED = {"store": STORE, "config": STORE, "positions": ("A/1/0",), "warnings": (), "engine": "openvino",
             "megapixels": 1.4}  # fmt: skip
EVALUATED = {"metrics": STORE, "readme": STORE, "config": STORE, "table": to_table([]), "positions": ("A/1/0",),
             "warnings": ()}  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "result"),
    [
        (predict, PredictResult(**PREDICTED, model="first/version_3")),
        (predict, PredictResult(**PREDICTED, forecasts=(Forecast("A/1/0", 1, 1, 1),), model="first/version_3")),
        (evaluate, EvaluateResult(**EVALUATED, model="first/version_3")),
    ],
    ids=["predict", "predict --init", "evaluate"],
)
def test_the_result_line_names_the_run(verb, result, capsys):
    verb.report(result, display("none"))
    assert "first/version_3" in "".join(capsys.readouterr())
