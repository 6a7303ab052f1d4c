"""What the documentation and the examples show is what happens."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import napari_vstain

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not installed")


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page, in order."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_page_runs(tmp_path):
    script = "\n".join(blocks("docs/python.md", "python"))
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "baseline" in run.stdout


def test_the_example_of_lazy_prediction_runs(tmp_path):
    make = (
        "import shutil, napari_vstain as v\nfrom napari_vstain.core.simulation import simulate_plate\n"
        "from napari_vstain.core.models import ModelSpec, OutputSpec\n"
        "from napari_vstain.core.models.files.onnx_file import export_onnx\n"
        "from napari_vstain.core.models.unet import UNet\n"
        "from napari_vstain.core.models.spec import Statistics\n"
        "simulate_plate('plate.zarr', fields=1, size=640)\n"
        "numbers = Statistics(mean=4000, std=900, median=4000, iqr=900)\n"
        "spec = ModelSpec(sources=('Phase',), outputs=(OutputSpec(channels=('Nuclei',)),), stride=(1, 2, 2),\n"
        "    halo=(0, 16, 16), statistics={'Phase': numbers, 'Nuclei': numbers})\n"
        "export_onnx(UNet(features=(4, 8)).eval(), spec, 'model.onnx')\n"
    )
    (example,) = blocks("docs/prediction.md", "python")
    check = "\nassert stained[..., :512, :512].compute().shape == (1, 512, 512)\n"
    run = subprocess.run(
        [sys.executable, "-c", make + example + check], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example, tmp_path, capsys):
    runpy.run_path(str(example))["main"](tmp_path / "example")
    assert capsys.readouterr().out


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("name", napari_vstain.__all__)
def test_a_public_name_leads_to_something(name):
    assert getattr(napari_vstain, name) is not None
    assert name in dir(napari_vstain)


def test_the_documentation_and_the_examples_use_public_names_only():
    shown = [*EXAMPLES, ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    inner = re.compile(r"^ *(?:from|import) napari_vstain\.(?!api\b)\S+", re.MULTILINE)
    found = {path.name: inner.findall(path.read_text(encoding="utf-8")) for path in shown}
    assert not {name: lines for name, lines in found.items() if lines}


def test_the_readme_names_the_environments_of_tox():
    named = set(re.findall(r"tox run -e (\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    known = set(re.findall(r"\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8")))
    assert named
    assert named <= known


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / "docs").rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
