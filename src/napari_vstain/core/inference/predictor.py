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

from napari_vstain.core.arrays import ZYX, Array
from napari_vstain.core.engines import Engine, OutOfMemory
from napari_vstain.core.errors import ChannelError, DatasetError, TilingError
from napari_vstain.core.inference.augment import UNCERTAINTY, Augmentation, augmented
from napari_vstain.core.inference.blocks import Block, read_block, statistics_of_sources
from napari_vstain.core.inference.estimate import LEAST_PX, estimated_error
from napari_vstain.core.inference.image_source import ArraySource, Source
from napari_vstain.core.inference.normalize import Scaling, source_scaling, target_scaling
from napari_vstain.core.inference.planner import retried_smaller
from napari_vstain.core.inference.resampling import SAME_SIZE, Factors, ResampledRunner, at_model_size
from napari_vstain.core.inference.runner import Runner, TileRunner, empty
from napari_vstain.core.models.spec import ModelSpec, OutputSpec, Statistics
from napari_vstain.core.progress import CancelToken, Progress
from napari_vstain.core.tiling.blend import Blender, with_neighbours
from napari_vstain.core.tiling.plan import Tile, TilePlan
from napari_vstain.core.tiling.regions import bad_in_output, put, region_inside

__all__ = ["Block", "Predictor"]


class Origin(Protocol):
    """Where a predictor was loaded from; it can be pickled."""

    def load(self, augment: Augmentation, factors: Factors) -> "Predictor":
        """Return the predictor, loaded in this process."""
        ...

    def with_threads(self, threads: int) -> "Origin | None":
        """Return the same for so many threads; None when it was loaded for another number."""
        ...


class Predictor:
    """A model ready to predict: a runner of tiles, with steps around it. Threads may take turns with it.

    The engine stands innermost; flips and rotations are a step around it, another voxel size one around both.

    Parameters
    ----------
    engine : Engine
        The network, on normalized intensities.
    spec : ModelSpec
        Channels, normalization, stride and halo.
    augment : Augmentation
        Predict the eight flips and rotations too; adds an output ``<task>_uncertainty`` for every task.
    factors : (Y, X)
        Pixels of the image in a pixel of the model, where they differ.
    origin : Origin, optional
        Where it was loaded from: workers on other machines load the model anew from there.
    tiles : TileRunner, optional
        The runner of another predictor of the same engine, spec and flips, with what it measured.

    Raises
    ------
    ModelError
        When images of another voxel size are wanted, and an output has other pixels than the model's sources.
    """

    def __init__(
        self,
        engine: Engine,
        spec: ModelSpec,
        *,
        augment: Augmentation | str = Augmentation.NONE,
        factors: Factors = SAME_SIZE,
        origin: Origin | None = None,
        tiles: TileRunner | None = None,
    ) -> None:
        self.engine, self.model, self.factors, self.origin = engine, spec, factors, origin
        self.augment = Augmentation(augment)
        self._tiles = tiles or TileRunner(*augmented(engine, spec, self.augment))
        self.runner: Runner = self._tiles if factors == SAME_SIZE else ResampledRunner(self._tiles, factors)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is None:
            return partial(Predictor, augment=self.augment, factors=self.factors), (self.engine, self.model)
        return self.origin.load, (self.augment, self.factors)

    def resampled(self, factors: Factors) -> "Predictor":
        """Return this predictor for images of another voxel size along Y and X; they share what was measured."""
        return Predictor(
            self.engine, self.model, augment=self.augment, factors=factors, origin=self.origin, tiles=self._tiles
        )

    def shared(self, threads: int) -> "Predictor":
        """Return this predictor for workers of so many threads each, unless it was loaded for another number."""
        origin = None if self.origin is None else self.origin.with_threads(threads)
        if origin is None:
            return self
        return Predictor(self.engine, self.model, augment=self.augment, factors=self.factors, origin=origin)

    @property
    def spec(self) -> ModelSpec:
        """What is predicted and how far that looks, in pixels of the image: `model`, as the steps change it."""
        return self.runner.spec

    def plan(self, shape: ZYX, tile_px: int | None = None, *, z: int | None = None, z_step: int = 1) -> TilePlan:
        """Return the tiles of an image of `shape`, (Z, Y, X); see `TileRunner.plan`."""
        return self.runner.plan(shape, tile_px, z=z, z_step=z_step)

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
        part = region_inside(region, _zyx(source))
        scaling = self.scaling(statistics, source)

        def attempt() -> dict[str, Array]:
            plan = self.plan(_zyx(source), tile_px, z_step=z_step)
            tiles = with_neighbours(plan, plan.intersecting(part))
            progress.phase("Predicting", len(tiles), "tiles")
            results = {output.task: empty(plan, output, part) for output in self.spec.outputs}
            for tile, outputs in self.results(plan, self.blocks(source, scaling, tiles), progress.token):
                for output in self.spec.outputs:
                    put(results[output.task], plan, output, part, tile, outputs[output.task])
                progress.advance()
            return results

        results = retried_smaller(attempt)
        return {task: result[:, 0] if array.ndim == 3 else result for task, result in results.items()}

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
        pixels = self.runner.pixels_at_once

        def predict(part: TilePlan, tile: Tile, of: Source) -> dict[str, Array]:
            return self.runner.run(part, tile, self.block(of, known, tile).values, None)

        while pixels > LEAST_PX:
            try:
                error = estimated_error(predict, plan, source, pixels)
            except (OutOfMemory, TilingError):
                pixels //= 4
                continue
            return f"{why}: a relative error of at most about {_rounded_up(error):.1g}"
        return f"{why}: by how much they differ cannot be estimated in this memory"

    def check(self, images: Mapping[int, Any], spacing_um: Sequence[float | None] | None = None) -> list[str]:
        """Return one sentence for each way in which time points look unlike the training data: see `novelty`."""
        from napari_vstain.core.novelty import check_times

        if self.factors != SAME_SIZE:
            images, spacing_um = at_model_size(images, spacing_um, self.factors, self.model)
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
        made = self.runner.run(plan, block.tile, block.values, token)
        return {output.task: self._finished(plan, block, output, made[output.task]) for output in self.spec.outputs}

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
