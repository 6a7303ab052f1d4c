"""Whatever is put before the doors of the package, it is used, or refused in one sentence, at once, and leaves nothing.

`VSTAIN_FUZZ` says how many inputs are tried in all, `VSTAIN_FUZZ_SEED` which; one that fails is named with its seed.
"""

import json
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tifffile
import torch
import yaml

from napari_vstain.core.data import ImportSettings, create_plate, open_dataset, run_import
from napari_vstain.core.deployment import ExportSettings
from napari_vstain.core.errors import VstainError
from napari_vstain.core.evaluation import EvaluateSettings
from napari_vstain.core.inference import PredictSettings
from napari_vstain.core.inference import run as predict
from napari_vstain.core.models.files.checkpoint import KEY, save_checkpoint
from napari_vstain.core.models.files.onnx_file import METADATA_KEY, export_onnx
from napari_vstain.core.models.networks import network_config
from napari_vstain.core.models.receptive_field.measure import receptive_field
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.models.unet import UNet
from napari_vstain.core.preprocessing import PreprocessSettings
from napari_vstain.core.preprocessing import run as preprocess
from napari_vstain.core.progress import Progress
from napari_vstain.core.settings import Settings
from napari_vstain.core.training import TrainSettings
from napari_vstain.core.workspace import Workspace

from .spoiling import add_unknown, spoil_bytes, spoil_json, spoil_value

INPUTS = int(os.environ.get("VSTAIN_FUZZ", "320"))
SEED = int(os.environ.get("VSTAIN_FUZZ_SEED", "0"))
LONGEST_S, PATIENCE_S = 10, 60
"""Of the processor, and by the clock of a machine that is busy with other things."""
NUMBERS = Statistics(mean=100, std=10, median=99, iqr=12)
VERBS: dict[type[Settings], dict[str, Any]] = {
    ImportSettings: {"source": "images", "pattern": "{position}_{channel}.tif", "name": "cells"},
    PreprocessSettings: {"dataset": "cells", "channels": ["Phase"], "grid_spacing_px": 8},
    PredictSettings: {"dataset": "cells", "experiment": "first", "region": [0, 0, 9, 9], "sources": {"a": "b"}},
    EvaluateSettings: {"experiment": "first"},
    ExportSettings: {"experiment": "first"},
    TrainSettings: TrainSettings.quick("first", "cells", ["Phase"], ["Nuclei"]).model_dump(mode="json"),
}


@dataclass(frozen=True)
class Good:
    """What is spoiled: each of it is used as it is."""

    root: Path
    plates: tuple[Path, ...]
    images: Path
    checkpoint: Path
    exported: Path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    root = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    plates = []
    for version in ("0.4", "0.5"):
        with create_plate(root / f"plate{version}.zarr", ["Phase", "Nuclei"], version=version) as writer:
            for key in ("A/1/0", "B/2/0"):
                writer.add_position(key, (1, 2, 1, 24, 20), np.uint16, (1, 0.5, 0.5))[:] = rng.integers(
                    90, 200, (1, 2, 1, 24, 20), np.uint16
                )
        plates.append(root / f"plate{version}.zarr")
    images = root / "images"
    images.mkdir()
    for name in ("a_Phase", "a_Nuclei"):
        pixels = rng.integers(90, 200, (3, 24, 20), np.uint16)
        tifffile.imwrite(images / f"{name}.tif", pixels, metadata={"axes": "ZYX"}, ome=name.endswith("Phase"))
    torch.manual_seed(0)
    network = UNet(features=(2, 4)).eval()
    field = receptive_field(network)
    spec = ModelSpec(
        name="first/run",
        sources=("Phase",),
        outputs=(OutputSpec(channels=("Nuclei",)),),
        stride=field.stride,
        halo=field.halo,
        statistics={"Phase": NUMBERS, "Nuclei": NUMBERS},
        spacing_um=(1, 0.5, 0.5),
        config=network_config(network, features=[2, 4]),
    )
    save_checkpoint(root / "model.ckpt", spec, network)
    return Good(root, tuple(plates), images, root / "model.ckpt", export_onnx(network, spec, root / "model.onnx"))


def use_dataset(path: Path, workspace: Workspace) -> None:
    dataset = open_dataset(path, workspace)
    for position in dataset.positions.values():
        position.dtype, position.spacing_um, position.translation_um  # noqa: B018
        position.read(position.channels[:1], t=0, y=slice(0, 8), x=slice(0, 8))
    preprocess(PreprocessSettings(dataset=str(path), grid_spacing_px=4), workspace, Progress())


def use_model(path: Path, good: Good, workspace: Workspace, engine: str) -> None:
    settings = PredictSettings(dataset=str(good.plates[1]), model=path, engine=engine, device="cpu", threads=1)
    predict(settings, workspace, Progress())


def plate_of(good: Good, folder: Path, rng: random.Random) -> Path:
    return Path(shutil.copytree(rng.choice(good.plates), folder / "plate.zarr"))


def _metadata(plate: Path, rng: random.Random, arrays: bool = False) -> Path:
    files = sorted(path for path in plate.rglob("*") if path.name in ("zarr.json", ".zattrs", ".zgroup", ".zarray"))
    of_array = [path for path in files if path.name == ".zarray" or '"array"' in path.read_text()]
    return rng.choice(of_array if arrays else files)


def metadata_bytes(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    plate = plate_of(good, folder, rng)
    path = _metadata(plate, rng)
    path.write_bytes(spoil_bytes(path.read_bytes(), rng))
    use_dataset(plate, workspace)


def metadata_values(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    plate = plate_of(good, folder, rng)
    spoil_json(_metadata(plate, rng), rng)
    use_dataset(plate, workspace)


def chunks(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    plate = plate_of(good, folder, rng)
    names = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
    path = rng.choice(sorted(path for path in plate.rglob("*") if path.is_file() and path.name not in names))
    if rng.random() < 0.2:
        path.unlink()
        if rng.random() < 0.5:
            path.mkdir()
    else:
        path.write_bytes(spoil_bytes(path.read_bytes(), rng))
    use_dataset(plate, workspace)


def sizes_that_lie(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    plate = plate_of(good, folder, rng)
    path = _metadata(plate, rng, arrays=True)
    values = json.loads(path.read_text())
    sizes = rng.choice([holder for holder in _lists(values) if len(holder) == 5])
    sizes[rng.randrange(5)] = rng.choice((0, -1, 2, 1000, 2**31, 2**40, 2**62, 2**63, 10**30, 1.5, "24", None, True))
    path.write_text(json.dumps(values))
    use_dataset(plate, workspace)


def types(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    plate = plate_of(good, folder, rng)
    path = _metadata(plate, rng, arrays=True)
    values = json.loads(path.read_text())
    key = "data_type" if "data_type" in values else "dtype"
    kinds = (
        "bool",
        "int8",
        "int64",
        "uint64",
        "float16",
        "float64",
        "complex64",
        "string",
        "U4",
        "O",
        "<f4",
        ">i2",
        "<M8[s]",
    )
    values[key] = rng.choice((*kinds, "|b1", "", None, 7, {"name": "numpy.datetime64"}, [["a", "<i4"]]))
    if rng.random() < 0.3:
        values["fill_value"] = rng.choice((None, "NaN", -1, 10**30, "AA==", [], True))
    path.write_text(json.dumps(values))
    use_dataset(plate, workspace)


def settings_values(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    kind = rng.choice(list(VERBS))
    values = spoil_value(json.loads(json.dumps(VERBS[kind])), rng)
    path = folder / "settings.yml"
    path.write_text(yaml.safe_dump(values).encode("utf-8", "replace").decode())
    kind.load(path)


def settings_bytes(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    kind = rng.choice(list(VERBS))
    path = folder / "settings.yml"
    path.write_bytes(spoil_bytes(yaml.safe_dump(VERBS[kind]).encode(), rng))
    kind.load(
        path,
        [rng.choice(("a=1", "=", "trainer.max_epochs=[", "a.b[0]=${c}", "model=", "data.init_args.x=*a"))]
        * rng.randrange(2),
    )


def checkpoint_bytes(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    path = folder / rng.choice(("model.ckpt", "model", "model.pt"))
    path.write_bytes(spoil_bytes(good.checkpoint.read_bytes(), rng))
    use_model(path, good, workspace, "torch")


def checkpoint_values(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    content = torch.load(good.checkpoint, weights_only=True)
    if rng.random() < 0.7:
        content[KEY] = json.dumps(spoil_value(json.loads(content[KEY]), rng))
    else:
        name = rng.choice(sorted(content["state_dict"]))
        odd = (None, 3, "text", [], torch.zeros(0), torch.ones(1, dtype=torch.complex64), torch.zeros(1).expand(10**9))
        content[rng.choice(("state_dict", KEY))] = rng.choice(
            (None, [], 3, {}, {name: 1}, {1: torch.ones(1)}, {**content["state_dict"], name: rng.choice(odd)})
        )
    torch.save(content, folder / "model.ckpt")
    use_model(folder / "model.ckpt", good, workspace, "torch")


def onnx_bytes(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    path = folder / "model.onnx"
    path.write_bytes(spoil_bytes(good.exported.read_bytes(), rng))
    use_model(path, good, workspace, "onnxruntime")


def onnx_values(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    content = onnx.load(good.exported)
    if rng.random() < 0.7:
        props = {entry.key: entry.value for entry in content.metadata_props}
        text = json.dumps(spoil_value(json.loads(props[METADATA_KEY]), rng))
        onnx.helper.set_model_props(content, {METADATA_KEY: text})
    else:
        onnx.helper.set_model_props(
            content,
            {
                METADATA_KEY: json.dumps(
                    json.loads(next(e.value for e in content.metadata_props if e.key == METADATA_KEY))
                )
            },
        )
        part = rng.choice((content.graph.node, content.graph.initializer, content.graph.input, content.graph.output))
        chosen = rng.randrange(len(part))
        match rng.randrange(3):
            case 0:
                del part[chosen]
            case 1:
                part.append(part[chosen])
            case _:
                spoiled = type(part[chosen])()
                spoiled.CopyFrom(part[chosen])
                name = rng.choice([field.name for field, _ in spoiled.ListFields()])
                spoiled.ClearField(name)
                part[chosen].CopyFrom(spoiled)
    path = folder / "model.onnx"
    path.write_bytes(content.SerializeToString())
    use_model(path, good, workspace, "onnxruntime")


def tiff_bytes(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    source = Path(shutil.copytree(good.images, folder / "images"))
    path = rng.choice(sorted(source.iterdir()))
    content = path.read_bytes()
    if rng.random() < 0.6:  # where the tags are
        start = int.from_bytes(content[4:8], "little")
        content = content[:start] + spoil_bytes(content[start : start + 250], rng) + content[start + 250 :]
    else:
        content = spoil_bytes(content, rng)
    path.write_bytes(content)
    run_import(_import(source), workspace, Progress())


def tiff_kinds(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    source = Path(shutil.copytree(good.images, folder / "images"))
    kinds = ("bool", "int8", "int32", "int64", "uint64", "float16", "float64", "complex64", "uint8", "S3", "M8[s]")
    shape = rng.choice(
        ((24, 20), (2, 2), (1, 1), (3, 24, 20), (24, 20, 3), (24, 20, 4), (2, 3, 4, 24, 20), (1, 20), (7,), ())
    )
    options: dict[str, Any] = rng.choice(
        ({}, {"photometric": "rgb"}, {"photometric": "minisblack"}, {"imagej": True}, {"ome": True}, {"bigtiff": True},
         {"compression": "zlib"}, {"tile": (16, 16)}, {"description": "\u00b5" * 9}, {"resolution": (0, 0)},
         {"metadata": {"axes": "QYX"}}, {"planarconfig": "separate"}, {"predictor": True, "compression": "lzw"})
    )  # fmt: skip
    try:
        tifffile.imwrite(source / "a_Phase.tif", np.zeros(shape, rng.choice(kinds)), **options)
    except Exception:
        return
    run_import(_import(source), workspace, Progress())


def names(good: Good, folder: Path, workspace: Workspace, rng: random.Random) -> None:
    odd = (
        "",
        " ",
        ".",
        "..",
        "../x",
        "/",
        "a/b",
        "a\x00b",
        "é",
        "\ud800",
        "con",
        "a" * 300,
        "-",
        "--x",
        "\n",
        "{a}",
        "*",
        "x.zarr",
    )
    name, other = rng.choice(odd), rng.choice(odd)
    match rng.randrange(6):
        case 0:
            source = Path(shutil.copytree(good.images, folder / "images"))
            try:
                (source / "a_Phase.tif").rename(
                    source
                    / os.fsdecode(rng.choice((b"\xff_Phase.tif", b"a_\xff.tif", b"\n_Phase.tif", b" _Phase.tif")))
                )
            except OSError:
                return
            run_import(_import(source), workspace, Progress())
        case 1:
            pattern = rng.choice(
                ("{position}_{channel}.tif", name, "{position}", "{" + name + "}", "(" * 99, "{position}{position}")
            )
            values = {"source": str(good.images), "name": other, "pattern": pattern, "channels": {name: other}}
            run_import(ImportSettings.parse(values), workspace, Progress())
        case 2:
            preprocess(PreprocessSettings.parse({"dataset": name, "channels": [other]}), workspace, Progress())
        case 3:
            predict(PredictSettings.parse({"dataset": name, "experiment": other}), workspace, Progress())
        case 4:
            values = {
                "dataset": str(good.plates[1]),
                "model": good.checkpoint,
                "positions": [name],
                "sources": {"Phase": other},
            }
            predict(PredictSettings.parse(values), workspace, Progress())
        case _:
            workspace.experiment(name).run(other)


def _import(source: Path) -> ImportSettings:
    return ImportSettings(source=source, pattern="{position}_{channel}.tif", name="cells")


def _lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(item)


Kind = Callable[[Good, Path, Workspace, random.Random], None]
KINDS: tuple[Kind, ...] = (
    metadata_bytes, metadata_values, chunks, sizes_that_lie, types, settings_values, settings_bytes, checkpoint_bytes,
    checkpoint_values, onnx_bytes, onnx_values, tiff_bytes, tiff_kinds, names,
)  # fmt: skip


@contextmanager
def hang_ends() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError(f"it took more than {PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} | {
        str(path.relative_to(folder)): b"" for path in folder.rglob("*") if path.is_dir()
    }


def fault(kind: Kind, good: Good, seed: str, folder: Path) -> str:
    """Return what is wrong with how one input is met; empty when it is used, or refused as it should be."""
    workspace = Workspace.create(folder / "study")
    before = tree(workspace.root)
    began = time.process_time()
    try:
        with hang_ends():
            kind(good, folder, workspace, random.Random(seed))
    except VstainError as error:
        said = str(error)
        if "\n" in said or "unexpected" in said or not said.isprintable() or len(said) > 1500:
            return f"no sentence: {said[:300]!r}"
        if time.process_time() - began > LONGEST_S:
            return "too slow"
        left = {name for name, content in tree(workspace.root).items() if before.get(name) != content}
        return f"left behind: {sorted(left)[:4]} after {said[:200]}" if left else ""
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        *_, here = traceback.extract_tb(error.__traceback__)
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "napari_vstain" in f.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else f"{here.filename}:{here.lineno}"
        return f"{type(error).__name__}: {str(error)[:200]} at {place}"
    return ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_input_is_used_or_refused_in_one_sentence_and_leaves_nothing(kind, good, tmp_path):
    faults = []
    for number in range(-(-INPUTS // len(KINDS))):
        seed = f"{kind.__name__} {SEED} {number}"
        folder = tmp_path / str(number)
        folder.mkdir()
        if found := fault(kind, good, seed, folder):
            faults.append(f"[{seed}] {found}")
        shutil.rmtree(folder)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_what_is_spoiled_is_good_before(good, tmp_path, engine):
    workspace = Workspace.create(tmp_path / "study")
    for plate in good.plates:
        use_dataset(Path(shutil.copytree(plate, tmp_path / plate.name)), workspace)
    run_import(_import(good.images), workspace, Progress())
    use_model(good.checkpoint if engine == "torch" else good.exported, good, workspace, engine)
    for kind, values in VERBS.items():
        (tmp_path / "settings.yml").write_text(yaml.safe_dump(values))
        kind.load(tmp_path / "settings.yml")


@pytest.mark.parametrize("seed", range(10))
def test_keys_that_nobody_knows_are_no_reason_to_refuse_a_store(good, tmp_path, seed):
    rng = random.Random(seed)
    plate = plate_of(good, tmp_path, rng)
    for path in sorted(plate.rglob("*")):
        if path.name in (".zattrs", "zarr.json") and '"array"' not in path.read_text():
            values = json.loads(path.read_text())
            inner = values if path.name == ".zattrs" else values["attributes"]
            add_unknown(inner, rng)
            path.write_text(json.dumps(values))
    use_dataset(plate, Workspace.create(tmp_path / "study"))
