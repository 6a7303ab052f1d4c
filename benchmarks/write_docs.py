"""Write docs/benchmarks.md from the JSON lines that the benchmarks printed: `write_docs.py results/*.jsonl`."""

import json
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Each figure is a line that a script under `benchmarks/` printed; ratios compare two sides in one run on one machine.
This page is written by `python benchmarks/write_docs.py benchmarks/results/*.jsonl`. A bar that is missed says so.

How much faster than eager torch a float32 network can be depends on the processor: where torch is near its limit
already, no engine can be five times as fast. `limit_vs_product_ratio` says how near the bare engine comes to what
the processor reaches in a plain matrix product; what is left above that is all that tiling could still gain.
`bar_vs_product_ratio` says what share of that product five times MONAI would need: above 1 the bar is out of reach for
any engine that convolves directly.
"""
BARS = {
    "ui_gap_p99_ms": ("<", 16),
    "ui_gap_max_ms": ("<", 100),
    "warmup_gap_max_ms": ("≤", 400),
    "stream_gap_p99_vs_plain_ratio": ("≤", 1.25),
    "slot_max_ms": ("≤", 8),
    "discovery_ms": ("≤", 50),
    "workbench_open_s": ("≤", 1),
    "predict_vs_monai_ratio": ("≥", 5),
    "predict_onnxruntime_vs_monai_ratio": ("≥", 3.5),
    "predict_bf16_vs_monai_ratio": ("≥", 10),
    "predict_bf16_rel_rms": ("≤", 1e-2),
    "predict_vs_limit_ratio": ("≥", 0.75),
    "tiled_vs_whole_rel_rms": ("≤", 1e-6),
    "predict_peak_memory_ratio": ("≤", 1.2),
    "first_tile_s": ("≤", 0.5),
    "stop_s": ("≤", 1),
    "cluster_2_vs_1_ratio": ("≥", 1.7),
    "harm_auroc": ("≥", 0.85),
    "false_alarm_share": ("≤", 0.01),
}
"""What each figure aims at (the sign, the bar)."""


def table(rows: list[dict]) -> str:
    """Return the figures of one script as a table."""
    lines = ["| figure | value | bar | size | against | n |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        value = f"{row['value']} {row['unit']}".strip()
        lines.append(f"| `{row['name']}` | {value} | {bar(row)} | {row['size']} | {row['peer']} | {row['n']} |")
    return "\n".join(lines)


def bar(row: dict) -> str:
    """Return the bar of a figure, and whether it is missed."""
    if row["name"] not in BARS or isinstance(row["value"], str):
        return ""
    sign, limit = BARS[row["name"]]
    met = {"<": row["value"] < limit, "≤": row["value"] <= limit, "≥": row["value"] >= limit}[sign]
    return f"{sign} {limit}" + ("" if met else ", **missed**")


def section(path: Path) -> str:
    """Return the section of one results file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    machine = next((row["value"] for row in rows if row["name"] == "machine"), "an unnamed machine")
    figures = [row for row in rows if row["name"] != "machine"]
    return f"\n## {path.stem}\n\nOn {machine}.\n\n{table(figures)}\n"


if __name__ == "__main__":
    PAGE.write_text(HEAD + "".join(section(Path(name)) for name in sorted(sys.argv[1:])), encoding="utf-8")
