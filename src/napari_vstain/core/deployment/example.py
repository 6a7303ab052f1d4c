"""The example of a model card: plain numpy and ONNX Runtime, exact for any image, tile by tile."""

from napari_vstain.core.models import Dimensions, ModelSpec, Normalization

_STATISTICS = {
    "mean": "image.mean((1, 2, 3))",
    "std": "image.std((1, 2, 3))",
    "median": "np.median(image, (1, 2, 3))",
    "min": "image.min((1, 2, 3))",
    "p1": "np.percentile(image, 1, (1, 2, 3))",
    "p5": "np.percentile(image, 5, (1, 2, 3))",
    "iqr": "np.subtract(*np.percentile(image, (75, 25), (1, 2, 3)))",
    "p95_p5": "np.subtract(*np.percentile(image, (95, 5), (1, 2, 3)))",
    "p99_p1": "np.subtract(*np.percentile(image, (99, 1), (1, 2, 3)))",
}


def example(spec: ModelSpec, file: str) -> str:
    """Return Python code that defines ``predict(image)`` for a model file and calls it.

    The function takes the sources in their own units, (C, Z, Y, X), and returns the outputs by task, (C, Z, Y, X).
    """
    own = "" if spec.source_normalization.level == "dataset" else _own_numbers(spec.source_normalization)
    predict = _PREDICT_SAME if all(output.scale == (1, 1, 1) for output in spec.outputs) else _PREDICT_SCALED
    slices = {
        Dimensions.TWO: "2, each slice on its own",
        Dimensions.WINDOW: f"2, each slice with its neighbours: {spec.z_window} at once",
        Dimensions.THREE: "3, all slices at once",
    }[spec.dimensions]
    constants = f"STRIDE, HALO = {spec.stride}, {spec.halo}  # (Z, Y, X), in pixels; dimensions: {slices}"
    sample = f"np.zeros(({len(spec.sources)}, {_slices(spec)}, 700, 900), np.float32)"
    text = _HEAD.format(constants=constants, file=file)
    text += predict.format(own=own, feeds=", **own" if own else "", pad=_padding(spec), run=_RUN[spec.dimensions])
    return text.replace("WINDOW", str(spec.z_window)) + _CALL.format(sources=", ".join(spec.sources), sample=sample)


def _own_numbers(normalization: Normalization) -> str:
    offset, divisor = _STATISTICS[normalization.subtract], _STATISTICS[normalization.divide]
    return (
        f'    own = {{"source_offset": np.float32({offset}),\n'
        f'           "source_divisor": np.float32({divisor})}}  # of the whole image, never of a tile\n'
        '    own["source_divisor"] += np.minimum(1e-8, own["source_divisor"] / 100)\n'
    )


def _padding(spec: ModelSpec) -> str:
    if spec.dimensions is Dimensions.THREE:
        return f"(HALO[0], HALO[0] + max({spec.z_window} - depth, 0) + -max(depth, {spec.z_window}) % STRIDE[0])"
    if spec.dimensions is Dimensions.WINDOW:
        return f"(0, max({spec.z_window} - depth, 0))"
    return "(0, 0)"


def _slices(spec: ModelSpec) -> int:
    return 1 if spec.dimensions is Dimensions.TWO else spec.z_window + 2


_HEAD = """\
import numpy as np
import onnxruntime as ort

{constants}
session = ort.InferenceSession("{file}", providers=["CPUExecutionProvider"])
tasks = [output.name for output in session.get_outputs()]

"""

_PREDICT_SAME = '''
def predict(image, tile_px=512):
    """Return the outputs by task, (C, Z, Y, X), from the sources, (C, Z, Y, X), all in their own units."""
    image = np.asarray(image, np.float32)
{own}    _, depth, *size = image.shape
    after = [halo + -n % stride for n, halo, stride in zip(size, HALO[1:], STRIDE[1:])]
    padded = np.pad(image, [(0, 0), {pad}, (HALO[1], after[0]), (HALO[2], after[1])], mode="reflect")
    step = [-(-tile_px // stride) * stride for stride in STRIDE[1:]]
    result = {{}}
    for y in range(0, size[0], step[0]):
        for x in range(0, size[1], step[1]):
            tile = padded[:, :, y : y + step[0] + 2 * HALO[1], x : x + step[1] + 2 * HALO[2]]
            for task, values in run(tile, depth{feeds}).items():
                whole = result.setdefault(task, np.empty((len(values), depth, *size), np.float32))
                owned = whole[:, :, y : y + step[0], x : x + step[1]]
                height, width = owned.shape[2:]
                owned[:] = values[:, :, HALO[1] : HALO[1] + height, HALO[2] : HALO[2] + width]
    return result

{run}'''

_PREDICT_SCALED = '''
def predict(image):
    """Return the outputs of the whole image by task, (C, Z, Y, X), on their own grid; crop them as you need."""
    image = np.asarray(image, np.float32)
{own}    _, depth, *size = image.shape
    pads = [(0, -n % stride) for n, stride in zip(size, STRIDE[1:])]
    return run(np.pad(image, [(0, 0), {pad}, *pads], mode="reflect"), depth{feeds})

{run}'''

_RUN = {
    Dimensions.TWO: '''
def run(tile, depth, **own):
    """Return the outputs of a tile by task, slice by slice."""
    slices = [session.run(None, {"source": tile[None, :, z], **own}) for z in range(depth)]
    return {task: np.stack([one[index][0] for one in slices], axis=1) for index, task in enumerate(tasks)}
''',
    Dimensions.WINDOW: '''
def run(tile, depth, **own):
    """Return the outputs of a tile by task: every slice is the mean over the windows that cover it."""
    totals, counts = {}, np.zeros(tile.shape[1], np.float32)
    for z in range(tile.shape[1] - WINDOW + 1):
        outputs = session.run(None, {"source": tile[None, :, z : z + WINDOW], **own})
        counts[z : z + WINDOW] += 1
        for task, values in zip(tasks, outputs):
            total = totals.setdefault(task, np.zeros((values.shape[1], *tile.shape[1:]), np.float32))
            total[:, z : z + WINDOW] += values[0]
    return {task: (total / counts[:, None, None])[:, :depth] for task, total in totals.items()}
''',
    Dimensions.THREE: '''
def run(tile, depth, **own):
    """Return the outputs of a tile by task."""
    outputs = session.run(None, {"source": tile[None], **own})
    return {task: values[0][:, HALO[0] : HALO[0] + depth] for task, values in zip(tasks, outputs)}
''',
}
_CALL = """

image = {sample}  # your {sources}
for task, values in predict(image).items():
    print(task, values.shape, values.dtype)
"""
