"""Figures as JSON lines, medians of interleaved runs, so that a busy moment slows both sides of a ratio."""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median


def report(name: str, value: float | str, unit: str, size: str, peer: str = "", n: int = 1) -> None:
    """Print one figure."""
    shown = float(f"{value:.4g}") if isinstance(value, float) else value
    row = {"name": name, "value": shown, "unit": unit, "size": size, "peer": peer, "n": n}
    print(json.dumps(row, ensure_ascii=False), flush=True)


def report_machine(cores: int) -> None:
    """Print which machine this is."""
    report("machine", f"{_cpu()}, {cores} cores, {platform.system()} {platform.machine()}", "", "")


def seconds(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def medians(functions: dict[str, Callable[[], object]], n: int, warm: bool = True) -> dict[str, float]:
    """Return the median seconds of `n` calls of each function, called in turn; warmed up with one call each."""
    for function in functions.values() if warm else ():
        function()
    runs: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(n):
        for name, function in functions.items():
            runs[name].append(seconds(function))
    return {name: median(values) for name, values in runs.items()}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
