"""How fast, how exact and how small prediction is, against MONAI's sliding window and against the bare network.

python benchmarks/predict.py [--quick] [--only NAME …]     prints JSON lines, medians, one machine, one run
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from _networks import Model, cells, fitted_model
from _report import medians, report, report_machine, seconds
from napari_vstain.core.arrays import round_up
from napari_vstain.core.data import create_plate
from napari_vstain.core.engines import load_engine
from napari_vstain.core.engines.devices import cpu_threads
from napari_vstain.core.errors import SettingsError
from napari_vstain.core.inference.loading import load_predictor
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.streaming import Stream, StreamRequest, TileDone
from napari_vstain.core.jobs import EventKind, FinishReason, Job
from napari_vstain.core.tiling.padding import reflect_pad
from napari_vstain.core.tiling.tile_queue import Area

HERE = Path(__file__).parent
CORES = cpu_threads(None)
PRODUCT = 2048
"""Side of the matrices whose product says how fast this processor computes at best."""
BAR = 5
"""How many times MONAI's throughput is wanted; no direct convolution gets there where that is more than the product."""


def monai_window(model: Model) -> Callable[[np.ndarray], Any]:
    """Return MONAI's sliding window around the network in eager torch, with the batch size that is faster here."""
    from monai.inferers import sliding_window_inference

    offset, divisor = model.spec.source_offset_and_divisor("Phase")

    def run(image: np.ndarray, batch: int) -> Any:
        source = torch.from_numpy((image[None].astype(np.float32) - offset) / np.float32(divisor))
        with torch.inference_mode():
            return sliding_window_inference(source, 512, batch, model.network, overlap=0.25, mode="gaussian")

    some = cells(2048)
    found = medians({batch: partial(run, some, batch) for batch in (1, 4)}, 3)  # type: ignore[dict-item]
    return partial(run, batch=min(found, key=lambda batch: found[batch]))  # type: ignore[arg-type]


def best_batch(model: Model, engine: Any) -> np.ndarray:
    """Return the batch in memory that the bare network computes fastest, of several sizes."""
    shapes = [(4, 256), (1, 512), (4, 512), (1, 1024), (1, 2048)]
    if len(model.spec.config["init_args"]["features"]) > 4:
        shapes = shapes[:-1]
    batches = [np.random.default_rng(0).standard_normal((b, 1, n, n), dtype=np.float32) for b, n in shapes]
    found = medians({i: partial(engine.run, batch) for i, batch in enumerate(batches)}, 3)  # type: ignore[misc]
    return batches[min(found, key=lambda i: found[i] / batches[i].size)]  # type: ignore[index]


def operations(model: Model) -> float:
    """Return the floating-point operations of the network for a pixel of its input."""
    from torch.utils.flop_counter import FlopCounterMode

    size = 256
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(torch.zeros(1, 1, size, size))
    return counter.get_total_flops() / size**2


def throughput(model: Model, size: int, n: int) -> None:
    """Compare the predictor with MONAI's sliding window and with the bare network in the same engine."""
    image = cells(size)
    label = f"{size}², {model.label}"
    predictors = {"auto": load_predictor(model.onnx), "onnxruntime": load_predictor(model.onnx, engine="onnxruntime")}
    try:
        predictors["bf16"] = load_predictor(model.onnx, engine="openvino", precision="bfloat16")
    except SettingsError as error:
        report("predict_bf16_vs_monai_ratio", str(error), "", label)
    engine = predictors["auto"].engine
    batch = best_batch(model, engine)
    runs: dict[str, Callable[[], object]] = {name: partial(p.predict, image) for name, p in predictors.items()}
    runs |= {"monai": partial(monai_window(model), image), "limit": partial(engine.run, batch)}
    runs["product"] = partial(torch.mm, *torch.rand(2, PRODUCT, PRODUCT))
    took = medians(runs, n)
    rate = {name: size**2 / 1e6 / s for name, s in took.items()} | {"limit": batch.size / 1e6 / took["limit"]}
    peer = "MONAI sliding_window_inference, roi 512, overlap 0.25, gaussian, eager torch float32"
    report("predict_mpx_s", rate["auto"], "Mpx/s", label, f"{engine.name}, {engine.device}, {engine.precision}", n)
    report("monai_mpx_s", rate["monai"], "Mpx/s", label, "", n)
    report("predict_vs_monai_ratio", rate["auto"] / rate["monai"], "×", label, peer, n)
    report("predict_onnxruntime_vs_monai_ratio", rate["onnxruntime"] / rate["monai"], "×", label, peer, n)
    limit = f"bare {engine.name} on one batch {batch.shape} in memory, {rate['limit']:.3g} Mpx/s"
    report("predict_vs_limit_ratio", rate["auto"] / rate["limit"], "×", label, limit, n)
    processor = 2 * PRODUCT**3 / took["product"]
    said = f"matrix product of {PRODUCT}² in float32, {processor / 1e9:.0f} GFLOP/s"
    share = {name: value * 1e6 * operations(model) / processor for name, value in rate.items()}
    report("limit_vs_product_ratio", share["limit"], "×", label, said, n)
    report(
        "bar_vs_product_ratio", BAR * share["monai"], "×", label, f"{BAR} times MONAI needs that much of a {said}", n
    )
    if "bf16" in predictors:
        report("predict_bf16_vs_monai_ratio", rate["bf16"] / rate["monai"], "×", label, peer, n)
        reduced, full = predictors["bf16"].predict(image), predictors["auto"].predict(image)
        report("predict_bf16_rel_rms", relative_rms(reduced["stain"], full["stain"]), "", label, "float32")


def exactness(model: Model, size: int) -> None:
    """Compare a prediction in small tiles with the whole image run at once, in each engine."""
    image = cells(size)
    for name in ("torch", "onnxruntime", "openvino"):
        if importlib.util.find_spec(name) is None:
            continue
        predictor = Predictor(load_engine(model.network, model.spec, engine=name), model.spec)
        tiled = predictor.predict(image, tile_px=256)["stain"]
        error = relative_rms(tiled, whole(predictor, image))
        report("tiled_vs_whole_rel_rms", error, "", f"{size}², {model.label}, tiles of 256", f"whole, {name}")


def whole(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """Return the reference: the image padded once, run whole in the same engine, cropped; (C, Y, X)."""
    spec = predictor.spec
    offset, divisor = (np.float32(v) for v in spec.source_offset_and_divisor("Phase"))
    sides = zip(image.shape[1:], spec.stride[1:], spec.halo[1:], strict=True)
    widths = [(halo, round_up(n, stride) - n + halo) for n, stride, halo in sides]
    batch = reflect_pad((image.astype(np.float32) - offset) / divisor, [(0, 0), *widths])[None]
    made = predictor.engine.run(np.ascontiguousarray(batch))["stain"][0]
    (top, _), (left, _) = widths
    cropped: np.ndarray = made[:, top : top + image.shape[1], left : left + image.shape[2]]
    return cropped


def relative_rms(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the RMS difference over the standard deviation of what was expected."""
    return float(np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2)) / expected.std())


def streaming(model: Model, size: int, n: int) -> None:
    """Measure how soon the first tile of what the user sees is there, and how soon a stream ends after Stop."""
    predictor = load_predictor(model.onnx, threads=max(CORES - 1, 1))
    image = cells(size)
    middle = slice(size // 2 - 512, size // 2 + 512)
    firsts, stops = [], []
    for _ in range(n):
        began = perf_counter()
        job = Job(Stream(StreamRequest(image, Area(y=middle, x=middle)), predictor), "predict")
        queue = job.subscribe()
        job.start()
        _wait_for_tiles(queue, 1)
        firsts.append(perf_counter() - began)
        _wait_for_tiles(queue, 3)
        began = perf_counter()
        job.stop()
        job.wait()
        assert job.status.reason is FinishReason.CANCELLED
        stops.append(perf_counter() - began)
    label = f"{size}², {model.label}, {predictor.engine.name}, {predictor.engine.device}"
    report("first_tile_s", median(firsts), "s", label, "", n)
    report("stop_s", max(stops), "s", f"{label}, the slowest", "", n)


def _wait_for_tiles(queue: Any, count: int) -> None:
    from threading import Event

    pause = Event()
    while count > 0:
        for event in queue.drain():
            count -= event.kind is EventKind.PRODUCED and isinstance(event.item, TileDone)
            assert event.kind is not EventKind.FINISHED, event.status.error
        pause.wait(0.001)


def plate(folder: Path, size: int) -> Path:
    """Return a plate with one position of the size."""
    path = folder / f"plate_{size}.zarr"
    strip = np.ascontiguousarray(cells(size)[:, :512] if size < 1024 else cells(size)[:, :1024])
    with create_plate(path, ["Phase"]) as writer:
        array = writer.add_position("A/1/0", (1, 1, 1, size, size), np.uint16)
        for y in range(0, size, strip.shape[1]):
            array[0, 0, 0, y : y + strip.shape[1]] = strip[0, : size - y]
    return path


_BATCH = """
import json, resource, sys
from napari_vstain.core.inference import PredictSettings, run
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace
folder, values = sys.argv[1:]
run(PredictSettings.parse(json.loads(values)), Workspace.create(folder), Progress())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def predict_to_store(folder: Path, dataset: Path, model: Path, **options: Any) -> int:
    """Predict a plate zarr to zarr in a process of its own; return its peak memory in bytes."""
    store = Path(tempfile.mkdtemp(dir=folder)) / "predictions.zarr"
    values = {"dataset": str(dataset), "model": str(model), "output": str(store), **options}
    program = [sys.executable, "-c", _BATCH, str(folder / "workspace"), json.dumps(values)]
    made = subprocess.run(program, check=True, capture_output=True, text=True)
    subprocess.run(["rm", "-rf", str(store.parent)], check=True)
    return int(made.stdout.split()[-1])


def memory(model: Model, folder: Path, small: int, large: int) -> None:
    """Compare the peak memory of predicting a large and a small image, zarr to zarr."""
    peaks = {size: predict_to_store(folder, plate(folder, size), model.onnx) for size in (small, large)}
    label = f"{large}² against {small}², {model.label}, {peaks[large] >> 20} against {peaks[small] >> 20} MiB"
    report("predict_peak_memory_ratio", peaks[large] / peaks[small], "×", label)


_COLD = """
import sys
import numpy as np
from napari_vstain.core.inference.loading import load_predictor
load_predictor(sys.argv[1]).predict(np.ones((1, 512, 512), np.uint16))
"""


def cold_start(model: Model, n: int) -> None:
    """Measure a fresh process from its start to its first prediction: the very first time, and from then on."""
    for path in (model.onnx, model.checkpoint):
        with tempfile.TemporaryDirectory() as cache:
            program = [sys.executable, "-c", _COLD, str(path)]
            run = partial(subprocess.run, program, check=True, env={**os.environ, "VSTAIN_CACHE": cache})
            first = seconds(run)
            later = medians({"later": run}, n, warm=False)["later"]
        report("cold_first_prediction_s", first, "s", f"512², {model.label}, {path.suffix}, engines not yet compared")
        report("cold_first_prediction_s", later, "s", f"512², {model.label}, {path.suffix}", "", n)


def cluster(model: Model, folder: Path, size: int, n: int) -> None:
    """Compare two worker processes of one thread with one, zarr to zarr through dask.distributed."""
    from distributed import LocalCluster

    from napari_vstain.core.inference import PredictSettings, run
    from napari_vstain.core.progress import Progress
    from napari_vstain.core.workspace import Workspace

    dataset, workspace = plate(folder / "cluster", size), Workspace.create(folder / "workspace")
    settings = PredictSettings(
        dataset=str(dataset), model=model.onnx, threads=1, output=folder / "cluster.zarr",
        existing="overwrite",
    )  # fmt: skip
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(n_workers=1, **options) as one, LocalCluster(n_workers=2, **options) as two:
        runs = {
            name: partial(run, settings.model_copy(update={"scheduler": c.scheduler_address}), workspace, Progress())
            for name, c in (("one", one), ("two", two))
        }
        took = medians(runs, n)
    label = f"{size}², {model.label}, tiles of 1024, {size**2 / 1e6 / took['two']:.3g} Mpx/s"
    report("cluster_2_vs_1_ratio", took["one"] / took["two"], "×", label, "1 worker process of 1 thread", n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller images, within five minutes")
    parser.add_argument("--only", nargs="*", default=[], help="parts to run: throughput, exactness, …")
    arguments = parser.parse_args()
    quick = arguments.quick
    n = 5
    report_machine(CORES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = fitted_model("default", folder)
        parts: dict[str, Callable[[], None]] = {
            "throughput": lambda: throughput(model, 1024 if quick else 4096, n),
            "large": lambda: throughput(fitted_model("large", folder, 6), 512 if quick else 2048, n),
            "exactness": lambda: exactness(model, 1024 if quick else 2048),
            "streaming": lambda: streaming(model, 2048 if quick else 4096, n),
            "memory": lambda: memory(model, folder, 2048 if quick else 4096, 4096 if quick else 16384),
            "cold": lambda: cold_start(model, 1 if quick else n),
            "cluster": lambda: cluster(model, folder, 2048 if quick else 4096, 3 if quick else n),
        }
        for part, measure in parts.items():
            if not arguments.only or part in arguments.only:
                measure()


if __name__ == "__main__":
    main()
