"""How far an ONNX graph looks, read from the graph itself: an upper bound, for every size that it takes.

The graph is run once at two sizes, so that what it computes from its sizes (paddings, crops, scales) is known, and
every axis of the image is followed through every node. What holds at two sizes that are one total stride apart
holds at all that are whole strides apart; the sizes in between are followed one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, gcd, lcm
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import round_up
from napari_vstain.core.models.receptive_field.field import UnknownLayer
from napari_vstain.core.models.receptive_field.graph_axis import AxisWalk
from napari_vstain.core.models.receptive_field.graph_nodes import follow_axis
from napari_vstain.core.models.receptive_field.graph_run import GraphRunner, GraphValues, Refused
from napari_vstain.core.models.receptive_field.reach import radius_and_stride
from napari_vstain.core.progress import CancelToken

Lengths = tuple[int, ...]
"""Along the free axes, [Z,] Y, X, in pixels."""
_LEAST = {2: 64, 3: 32}
"""About the side of the images that are run, in pixels, by the number of free axes."""
_LARGEST_STRIDE = 256
_PATIENCE_S = 20.0
"""For sizes off the stride grid; those that were not followed by then are not called exact."""


@dataclass(frozen=True)
class GraphReach:
    """How far a graph looks along its free axes."""

    stride: Lengths
    radius: Lengths
    across: bool
    """True when something looks at the whole image; the radius is of the rest then."""
    step: Lengths
    """Sizes that are multiples of it are taken: divisors of the stride."""
    exact_step: Lengths
    """Sizes that are multiples of it are taken, and their tiles look no further than the radius."""
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of an image on the stride grid, and of what it became."""


class GraphFollower:
    """A graph of one image input and one output, (B, C, [Z,] Y, X), as it is at sizes that are tried.

    Parameters
    ----------
    model : onnx.ModelProto
        With free axes.
    fixed : sequence of int
        Lengths of the axes in front of the free ones: batch, channels and, in 2.5D, slices.
    free : int
        How many axes are free: 2 or 3.

    Raises
    ------
    UnknownLayer
        When the graph has branches or loops.
    ModelError
        When ONNX Runtime cannot run it.
    """

    def __init__(self, model: Any, fixed: Sequence[int], free: int, path: Path, token: CancelToken) -> None:
        from onnx import numpy_helper

        if any(attribute.type in (5, 10) for node in model.graph.node for attribute in node.attribute):
            raise UnknownLayer("a branch or a loop")
        self._graph, self._fixed, self._free = model.graph, tuple(fixed), free
        self._opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 18)
        self._constants: GraphValues = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self._source = next(value.name for value in model.graph.input if value.name not in self._constants)
        self._output = model.graph.output[0].name
        self._runner = GraphRunner(model, path, token, every=True)

    def reach(self) -> GraphReach:
        """Return how far the graph looks.

        Raises
        ------
        UnknownLayer
            When the graph does not tell.
        ModelError
            When a run takes too long.
        """
        stride = self._suggested_stride()
        while True:
            try:
                radius, found, across, scale = self._followed(stride, (0,) * self._free, _LEAST[self._free])
            except Refused as error:
                raise UnknownLayer(f"sizes that are multiples of {stride}") from error
            if found == stride:
                break
            if max(found) > _LARGEST_STRIDE:
                raise UnknownLayer(f"a stride of {max(found)} px")
            common = tuple(map(lcm, stride, found))
            stride = found if common == stride else common
        radius, step, exact_step = self._between(stride, radius, across, scale)
        image = self._image(tuple(round_up(_LEAST[self._free], length) for length in stride))
        return GraphReach(stride, radius, across, step, exact_step, (image.shape, self._runner.run(image).shape))

    def _followed(
        self, stride: Lengths, rest: Lengths, least: int
    ) -> tuple[Lengths, Lengths, bool, tuple[Fraction, ...]]:
        """Return radius, total stride, whether it looks across, and the output's scale, at sizes ``stride * n + rest``.

        Raises
        ------
        Refused, UnknownLayer
            When such sizes are not taken; when the graph does not tell.
        """
        sizes = tuple(round_up(max(least, 2 * step), step) + more for step, more in zip(stride, rest, strict=True))
        larger = tuple(n + step for n, step in zip(sizes, stride, strict=True))
        seen = [self._values(sizes), self._values(larger)]
        radius, strides, scales, across = [], [], [], False
        for axis in range(self._free):
            at = len(self._fixed) + axis
            walk, other = (follow_axis(self._graph, AxisWalk(values, self._source, at, self._opset)) for values in seen)
            if walk.steps != other.steps or walk.at[self._output] != at:
                raise UnknownLayer("sizes that do not follow those of the image")
            across = across or walk.across
            reach = radius_and_stride(self._source, walk.steps, [self._output], rest[axis])
            radius.append(reach[0])
            strides.append(reach[1])
            scales.append(1 / walk.pixels(self._output))
            if walk.shape(self._output)[at] != ceil(sizes[axis] * scales[-1]):
                raise Refused("it gives another size than it takes")
        return tuple(radius), tuple(strides), across, tuple(scales)

    def _between(
        self, stride: Lengths, radius: Lengths, across: bool, scale: tuple[Fraction, ...]
    ) -> tuple[Lengths, Lengths, Lengths]:
        """Return the radius over all sizes, and what sizes must be multiples of to be taken, and to be exact."""
        common, until = lcm(*stride), monotonic() + _PATIENCE_S
        taken, exact = {0}, {0: radius}
        for rest in range(1, common):
            rests = tuple(rest % step for step in stride)
            try:
                if monotonic() > until or common > _LARGEST_STRIDE:
                    self._check_size(tuple(2 * step + more for step, more in zip(stride, rests, strict=True)), scale)
                    taken.add(rest)
                    continue
                found, strides, more, scales = self._followed(stride, rests, _LEAST[self._free] // 2)
            except Refused:
                continue
            except UnknownLayer:
                taken.add(rest)
                continue
            if scales != scale:
                continue
            taken.add(rest)
            if strides == stride and more == across:
                exact[rest] = found
        step = _divisor(common, taken)
        exact_step = _divisor(common, exact.keys() & set(range(0, common, step)))
        widest = zip(*(exact[rest] for rest in range(0, common, exact_step)), strict=True)
        steps, exact_steps = (tuple(gcd(divisor, own) for own in stride) for divisor in (step, exact_step))
        return tuple(max(axis) for axis in widest), steps, exact_steps

    def _check_size(self, sizes: Lengths, scale: tuple[Fraction, ...]) -> None:
        made = self._runner.run(self._image(sizes)).shape[-self._free :]
        if any(m != ceil(n * factor) for m, n, factor in zip(made, sizes, scale, strict=True)):
            raise Refused("it gives another size than it takes")

    def _values(self, sizes: Lengths) -> GraphValues:
        image = self._image(sizes)
        return {**self._constants, self._source: image, **self._runner.values(image)}

    def _image(self, sizes: Lengths) -> npt.NDArray[np.float32]:
        return np.random.default_rng(0).standard_normal((*self._fixed, *sizes), dtype=np.float32)

    def _suggested_stride(self) -> Lengths:
        """Return a stride along each free axis that the nodes' own strides suggest; what is wrong shows later."""
        one = (1,) * self._free
        known = {self._source: one}
        for node in self._graph.node:
            before = [known[name] for name in node.input if name in known]
            if not before:
                continue
            own = one
            for attribute in node.attribute:
                if attribute.name == "strides" and len(attribute.ints) >= self._free:
                    own = tuple(attribute.ints[-self._free :])
                elif attribute.name == "blocksize":
                    own = (attribute.i,) * self._free
            after = tuple(max(axis) for axis in zip(*before, strict=True))
            if node.op_type in ("ConvTranspose", "DepthToSpace"):
                after = tuple(a // b if a % b == 0 else 1 for a, b in zip(after, own, strict=True))
            elif node.op_type in ("Resize", "Upsample"):
                after = one
            else:
                after = tuple(a * b for a, b in zip(after, own, strict=True))
            known |= dict.fromkeys(node.output, after)
        stride = tuple(lcm(*axis) for axis in zip(*known.values(), strict=True))
        return stride if max(stride) <= _LARGEST_STRIDE else one


def _divisor(whole: int, among: set[int]) -> int:
    """Return the least divisor of `whole` all of whose multiples below it are among some numbers."""
    return next(n for n in range(1, whole + 1) if whole % n == 0 and among.issuperset(range(0, whole, n)))
