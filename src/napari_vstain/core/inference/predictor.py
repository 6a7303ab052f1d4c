"""Predict an image in its own units: read, normalize, run in tiles, bring back into the target's units.

::

    predictor = load_predictor("best.ckpt")          # or a .onnx file
    stains = predictor.predict(array)                # (C, Y, X) or (C, Z, Y, X), raw -> {task: float32 array}
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from napari_vstain.core.arrays import ZYX, Array, Region
from napari_vstain.core.engines import Engine, OutOfMemory
from napari_vstain.core.errors import ChannelError, DatasetError, TilingError
from napari_vstain.core.inference.augment import UNCERTAINTY, Augmentation, AugmentedEngine, uncertainties
from napari_vstain.core.inference.blocks import Block, read_block, statistics_of_sources
from napari_vstain.core.inference.estimate import LEAST_PX, estimated_error
from napari_vstain.core.inference.image_source import ArraySource, Source
from napari_vstain.core.inference.normalize import Scaling, source_scaling, target_scaling
from napari_vstain.core.inference.runner import TileRunner, empty
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.progress import CancelToken, Progress
from napari_vstain.core.tiling.blend import Blender, with_neighbours
from napari_vstain.core.tiling.plan import Tile, TilePlan
from napari_vstain.core.tiling.regions import bad_in_output, inside, put

__all__ = ["Block", "Predictor"]


class Origin(Protocol):
    """Where a predictor was loaded from; it can be pickled."""

    def load(self, augment: Augmentation) -> "Predictor":
        """Return the predictor, loaded in this process."""
        ...

    def with_threads(self, threads: int) -> "Origin | None":
        """Return the same for so many threads; None when it was loaded for another number."""
        ...


class Predictor(TileRunner):
    """A model ready to predict: an engine, and what the model says of itself. Threads may take turns with it.

    Parameters
    ----------
    engine : Engine
        The network, on normalized intensities.
    spec : ModelSpec
        Channels, normalization, stride and halo.
    augment : Augmentation
        Predict the eight flips and rotations too; adds an output ``<task>_uncertainty`` for every task.
    origin : Origin, optional
        Where it was loaded from: workers on other machines load the model anew from there.
    """

    def __init__(
        self,
        engine: Engine,
        spec: ModelSpec,
        *,
        augment: Augmentation | str = Augmentation.NONE,
        origin: Origin | None = None,
    ) -> None:
        self.model = spec
        """What the model says of itself; `spec` has the outputs that augmentation adds, too."""
        self.augment = Augmentation(augment)
        self.origin = origin
        if self.augment is not Augmentation.NONE:
            engine = AugmentedEngine(engine, spec, self.augment)
            spec = spec.model_copy(update={"outputs": (*spec.outputs, *uncertainties(spec))})
        super().__init__(engine, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is None:
            engine = getattr(self.engine, "inner", self.engine)
            return partial(Predictor, augment=self.augment), (engine, self.model)
        return self.origin.load, (self.augment,)

    def shared(self, threads: int) -> "Predictor":
        """Return this predictor for workers of so many threads each, unless it was loaded for another number."""
        origin = None if self.origin is None else self.origin.with_threads(threads)
        if origin is None:
            return self
        return Predictor(getattr(self.engine, "inner", self.engine), self.model, augment=self.augment, origin=origin)

    def channel_names(self, output: OutputSpec) -> tuple[str, ...]:
        """Return the names of an output's channels as they are stored: ``<target>_prediction``, ``…_uncertainty``."""
        suffix = UNCERTAINTY if output.task.endswith(UNCERTAINTY) else "_prediction"
        return tuple(channel + suffix for channel in output.channels)

    def contrast_limits(self, channel: str) -> tuple[float, float]:
        """Return where a target's grey values began and ended in training (1st and 99th percentile), in its units."""
        known = self.spec.statistics.get(channel)
        if known is None:
            return 0.0, 1.0
        low = known.mean - 2 * known.std if known.p1 is None else known.p1
        high = known.mean + 3 * known.std if known.p99 is None else known.p99
        return (low, high) if high > low else (low, low + 1.0)

    def scaling(self, statistics: Mapping[str, Statistics] | None = None, *sources: Source) -> Scaling:
        """Return how the sources are normalized.

        Statistics that the model needs and that are not given are taken from all of `sources`: one timepoint, or
        every timepoint of the field of view, as the model's level asks.
        """
        if self.spec.source_normalization.level != "dataset" and statistics is None and sources:
            statistics = statistics_of_sources(sources, self.spec)
        return source_scaling(self.spec, statistics)

    def predict(
        self,
        array: Any,
        tile_px: int | None = None,
        progress: Progress | None = None,
        *,
        region: tuple[slice, ...] | None = None,
        statistics: Mapping[str, Statistics] | None = None,
        z_step: int = 1,
    ) -> dict[str, Array]:
        """Return the prediction of an image, by task, with the axes of `array`, in the targets' units.

        Parameters
        ----------
        array : (C, Y, X) or (C, Z, Y, X), any dtype; numpy, zarr or dask
            The source channels in the model's order, in raw units. Pixels that are NaN or infinite in any of them
            are NaN in the prediction, and look to the network like the mean image.
        region : slices (Y, X) or (Z, Y, X), optional
            Predict only this part; the result equals the crop of the whole.
        statistics : mapping, optional
            Of the whole image by source channel, when the model normalizes by them and they are known.

        Raises
        ------
        ChannelError
            When the array has another number of channels than the model.
        TilingError
            When the tile size breaks the stride, or one tile of the least size does not fit in memory.
        """
        progress = progress or Progress()
        if array.ndim == 5:
            raise DatasetError("image", array.shape, "has timepoints", "predict one at a time, or use `predict_lazy`")
        source = self.source(array)
        part = inside(region, _zyx(source))
        scaling = self.scaling(statistics, source)
        while True:
            plan = self.plan(_zyx(source), tile_px, z_step=z_step)
            try:
                results = self._predicted(source, scaling, plan, part, progress)
            except OutOfMemory:
                continue  # the next plan is smaller, until there is none
            return {task: result[:, 0] if array.ndim == 3 else result for task, result in results.items()}

    def _predicted(
        self, source: Source, scaling: Scaling, plan: TilePlan, part: Region, progress: Progress
    ) -> dict[str, Array]:
        tiles = with_neighbours(plan, plan.intersecting(part))
        progress.phase("Predicting", len(tiles), "tiles")
        results = {output.task: empty(plan, output, part) for output in self.spec.outputs}
        for tile, outputs in self.results(plan, self.blocks(source, scaling, tiles), progress.token):
            for output in self.spec.outputs:
                put(results[output.task], plan, output, part, tile, outputs[output.task])
            progress.advance()
        return results

    def caveat(self, plan: TilePlan, source: Source, scaling: Scaling | None = None) -> str:
        """Return one sentence on what a plan's tiles cost in exactness on this image, at most; "" if nothing.

        Parameters
        ----------
        source : Source
            The image that the plan is of.
        scaling : Scaling, optional
            How it is normalized.
        """
        if plan.halo == self.spec.halo and not plan.margin:
            return ""
        if plan.margin:
            why = "the model's tiles are no exact parts of the whole image, and are blended"
        else:
            saw = max(plan.halo[1:])
            why = f"the model looks {max(self.spec.halo[1:])} px far and tiles see {saw} px"
        known = scaling or self.scaling(None, source)
        pixels = self.pixels_at_once

        def predict(part: TilePlan, tile: Tile, of: Source) -> dict[str, Array]:
            return self.run(part, tile, self.block(of, known, tile).values, None)

        while pixels > LEAST_PX:
            try:
                error = estimated_error(predict, plan, source, pixels)
            except (OutOfMemory, TilingError):
                pixels //= 4
                continue
            return f"{why}: a relative error of at most about {_rounded_up(error):.1g}"
        return f"{why}: by how much they differ cannot be estimated in this memory"

    def check(self, images: Mapping[int, Any], spacing_um: Sequence[float | None] | None = None) -> list[str]:
        """Return one sentence for each way in which time points look unlike the training data: `trust.check_times`."""
        from napari_vstain.core.novelty import check_times

        return check_times(self.model, images, spacing_um)

    def source(self, array: Any, t: int = 0) -> ArraySource:
        """Return an array as what tiles are read from, once its channels were counted; of (T, …), one timepoint.

        Raises
        ------
        ChannelError, DatasetError
            When the channels, or the axes, are not what the model takes.
        """
        if array.ndim not in (3, 4, 5):
            rule = "must have the axes (C, Y, X), (C, Z, Y, X) or (T, C, Z, Y, X)"
            raise DatasetError("image", array.shape, rule, "add or drop axes")
        source = ArraySource(array, t)
        if source.shape[0] != len(self.spec.sources):
            names = ", ".join(self.spec.sources)
            rule = f"the model takes {len(self.spec.sources)}: {names}"
            raise ChannelError("number of source channels", source.shape[0], rule, "choose these, in this order")
        return source

    def blocks(self, source: Source, scaling: Scaling, tiles: Iterable[Tile]) -> Iterator[Block]:
        """Read and normalize tiles, one after the other."""
        return (self.block(source, scaling, tile) for tile in tiles)

    def block(self, source: Source, scaling: Scaling, tile: Tile) -> Block:
        """Return a tile's pixels, ready for the network."""
        return read_block(source, scaling, tile, zeros=self.spec.border == "zeros")

    def results(
        self, plan: TilePlan, blocks: Iterable[Block], token: CancelToken | None = None
    ) -> Iterator[tuple[Tile, dict[str, Array]]]:
        """Yield each tile once it is final, with what it owns by task, (C, Z, Y, X), in the targets' units."""
        blender = Blender(plan)
        for block in blocks:
            if token is not None:
                token.check()
            yield from blender.add(block.tile, self.compute(plan, block, token))

    def compute(self, plan: TilePlan, block: Block, token: CancelToken | None = None) -> dict[str, Array]:
        """Return the prediction of a tile's support by task, (C, Z, Y, X), in the targets' units."""
        outputs = self.run(plan, block.tile, block.values, token)
        return {o.task: self._finished(plan, block, o, outputs[o.task]) for o in self.spec.outputs}

    def _finished(self, plan: TilePlan, block: Block, output: OutputSpec, values: Array) -> Array:
        scaling = target_scaling(self.spec, output)
        if output.task.endswith(UNCERTAINTY):
            scaling = Scaling(np.zeros_like(scaling.offset), scaling.divisor)
        values = scaling.restored(values)
        if block.bad is not None:
            values[:, bad_in_output(plan, block.tile, block.bad, output)] = np.nan
        return values


def _rounded_up(number: float) -> float:
    """Return a number with one digit that is no less."""
    if not 0 < number < math.inf:
        return number
    digit = 10.0 ** math.floor(math.log10(number))
    return math.ceil(number / digit) * digit


def _zyx(source: Source) -> ZYX:
    _, z, y, x = source.shape
    return z, y, x
