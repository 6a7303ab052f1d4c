"""Write the two pictures of docs/architecture.md as SVG: `python docs/write_pictures.py`."""

from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
INK, LINE, QT, CORE, DISK = "#1f2933", "#52606d", "#d9e8fb", "#e6f4ea", "#fdf0d5"
LAYERS = [
    (["widgets", "cli", "contributions", "api"], QT, "what people touch; nn: paths in files"),
    (["session"], CORE, "what is chosen, and jobs that were started"),
    (["training", "deployment"], CORE, "stages 2 and 5"),
    (["inference", "evaluation"], CORE, "stages 3 and 4"),
    (["preprocessing", "novelty", "groundtruth", "simulation"], CORE, "stage 1; is an image like the training's?"),
    (["tiling", "data", "engines"], CORE, "images, and what runs a network on them"),
    (["models", "stages"], CORE, "what a model says of itself"),
    (["workspace", "experiments"], CORE, "where things are"),
    (["jobs", "processes", "progress"], CORE, "how work is run and told"),
    (["settings", "files", "errors", "arrays"], CORE, "the ground"),
]
STAGES = ["import", "preprocess", "train", "predict", "evaluate", "export"]
FILES = [
    ["datasets/*.zarr", "pixels, OME metadata"],
    ["normalization", "per position and dataset"],
    ["checkpoint", "weights + ModelSpec"],
    ["predictions.zarr", "stain, model, digest"],
    ["metrics.csv", "model and baseline"],
    ["model.onnx", "graph + ModelSpec, card"],
]


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """Return a rounded rectangle."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{LINE}"/>'


def text(x: float, y: float, words: str, size: int = 14, anchor: str = "middle", weight: str = "normal") -> str:
    """Return a line of text."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{INK}">{escape(words)}</text>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float, dashed: bool = False) -> str:
    """Return an arrow."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"{dash}/>'


def svg(width: int, height: int, parts: list[str]) -> str:
    """Return the file; its ground is white, so that it reads on a dark page too."""
    tip = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker></defs>'
    )
    ground = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            tip,
            ground,
            *parts,
            "</svg>",
            "",
        ]
    )


def layers() -> str:
    """Return the picture of the layers: each row imports only rows below it."""
    parts, room, row = [], 480, 46
    for i, (names, fill, said) in enumerate(LAYERS):
        y, width = 20 + i * row, (room - 8 * (len(names) - 1)) / len(names)
        for j, name in enumerate(names):
            x = 20 + j * (width + 8)
            parts += [box(x, y, width, 34, fill), text(x + width / 2, y + 22, name)]
        parts.append(text(room + 40, y + 22, said, 13, "start"))
    bottom = 20 + len(LAYERS) * row
    parts.append(
        text(
            20,
            bottom + 8,
            "Each row imports only rows below it. Blue: the doors; green: core, without Qt.",
            13,
            "start",
        )
    )
    return svg(840, bottom + 26, parts)


def flow() -> str:
    """Return the picture of what each stage reads and writes."""
    parts, step = (
        [text(20, 30, "settings.yml → run(settings, workspace, progress) → result + its settings", 13, "start")],
        160,
    )
    for i, (stage, (name, holds)) in enumerate(zip(STAGES, FILES, strict=True)):
        x = 20 + i * step
        parts += [box(x, 60, 136, 40, CORE), text(x + 68, 85, stage, 15, weight="bold")]
        parts += [box(x, 170, 136, 56, DISK), text(x + 68, 194, name, 13), text(x + 68, 213, holds, 10)]
        parts.append(arrow(x + 68, 100, x + 68, 168))
        if i in (0, 1, 2, 3):  # what one stage wrote the next one reads
            parts.append(arrow(x + 128, 170, x + step + 12, 102))
    left, right = 20 + 2 * step + 68, 20 + 5 * step - 40
    curve = (
        f'<path d="M{left} 226 L{left} 262 L{right + 24} 262 L{right + 24} 80 L{right + 38} 80" fill="none" '
        f'stroke="{LINE}" stroke-width="1.5" marker-end="url(#tip)"/>'
    )
    parts.append(curve)
    parts.append(
        text(
            20,
            330,
            "ModelSpec (channels, normalization, stride, halo, voxel size, split) goes with the weights: no stage derives it again.",
            13,
            "start",
        )
    )
    return svg(20 + 6 * step, 350, parts)


if __name__ == "__main__":
    (IMAGES / "layers.svg").write_text(layers(), encoding="utf-8")
    (IMAGES / "flow.svg").write_text(flow(), encoding="utf-8")
