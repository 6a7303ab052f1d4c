"""Pearson, SSIM, NRMSE, PSNR and MAE of a slice and of a volume, from one pass over the pixels."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from math import inf, isnan, log10, sqrt

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Image, Mask
from napari_vstain.core.errors import DatasetError
from napari_vstain.core.evaluation.definitions import INTENSITIES, Definitions, Metric, intensity_table
from napari_vstain.core.evaluation.families.family import Context, Unit
from napari_vstain.core.evaluation.moments import Moments, Pair, moments, typical_pair
from napari_vstain.core.evaluation.ranges import data_range
from napari_vstain.core.evaluation.similarity import Similarity, kernel, similarity
from napari_vstain.core.evaluation.strips import Strips, strips
from napari_vstain.core.models import OutputKind

_NAN = float("nan")


class Intensity:
    """The family of what is compared pixel by pixel, in the target's unit."""

    kinds = frozenset({OutputKind.FLUORESCENCE})
    metrics = INTENSITIES
    introduction = """\
t is the target and p the prediction, both in the target's intensity unit; n is the number of pixels, m a mean, s a
population standard deviation. L is the range of t over all finite pixels of the slice or volume, whatever the mask,
without the highest and the lowest 0.01 % of them, at least one of each: else one hot pixel would decide SSIM and PSNR.
Pixels where t or p is not finite are left out. With a mask, sums run over the pixels of the mask; the SSIM averages
the map of the whole image over the mask. All sums are in double precision."""

    def table(self, definitions: Definitions) -> tuple[Metric, ...]:
        """Return what each column means."""
        return intensity_table(definitions)

    def score(self, truth: Image, guess: Image, context: Context) -> Iterator[Unit]:
        """Yield every slice, then the volume, each under every mask; see `scores`."""
        return scores(truth, guess, context.masks, context.definitions, context.threads)

    def why(self, unit: Unit) -> str:
        """Return why some values are not defined: what mae lacks, all lack; pearson and ssim ask for most."""
        if isnan(unit.values["mae"]):
            return "no pixel is finite" if unit.mask == "whole" else f"the {unit.mask} has no finite pixel"
        if isnan(unit.values["nrmse"]):
            return "the target is constant"
        if isnan(unit.values["pearson"]):
            return "the prediction is constant"
        return "the image is smaller than the window"


def image_metrics(
    target: Image,
    prediction: Image,
    mask: Mask | None = None,
    definitions: Definitions | None = None,
    threads: int | None = None,
) -> dict[str, float]:
    """Return pearson, ssim, nrmse, psnr and mae of a prediction, as `definitions.intensity_table` defines them.

    Parameters
    ----------
    target, prediction : array, (Y, X) or (Z, Y, X), any real dtype, in the same unit
    mask : bool array of the same shape, optional
        The pixels to average over; every pixel by default.
    threads : int, optional
        By default one a core that this process may use.

    Returns
    -------
    dict
        Python floats. Pixels where either image is not finite are left out. A metric that is not defined is NaN:
        all without pixels, all but mae for a constant target, pearson for a constant prediction, ssim for an
        image smaller than its window. Equal images have an infinite psnr.

    Raises
    ------
    DatasetError
        When the shapes differ, or are neither (Y, X) nor (Z, Y, X).
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    for other, name in ((prediction, "prediction"), (mask, "mask")):
        if other is not None and other.shape != target.shape:
            raise _different(name, target.shape, other.shape)
    if target.ndim not in (2, 3):
        raise DatasetError("target", target.shape, "must be (Y, X) or (Z, Y, X)", "choose one channel and time point")
    if target.ndim == 2:
        target, prediction, mask = target[None], prediction[None], None if mask is None else mask[None]
    *_, volume = scores(target, prediction, {"": mask}, definitions or Definitions(), threads)
    return volume.values


def scores(
    target: Image,
    prediction: Image,
    masks: Mapping[str, Mask | None],
    definitions: Definitions,
    threads: int | None = None,
) -> Iterator[Unit]:
    """Yield the metrics of every slice, then of the volume, each under every mask.

    Parameters
    ----------
    target, prediction : array, (Z, Y, X), any real dtype, in the same unit
    masks : mapping of name to bool array, (Z, Y, X), or to None for every pixel
    """
    if target.shape != prediction.shape:
        raise _different("prediction", target.shape, prediction.shape)
    names, weights = tuple(masks), kernel(definitions.ssim_window)
    shift = typical_pair(target, prediction)
    with strips(threads) as pool:
        sums = [moments(target[z], prediction[z], _at(z, masks), shift, pool) for z in range(len(target))]
        whole = [reduce(Moments.__or__, column) for column in zip(*sums, strict=True)]
        volume = data_range(target, prediction)
        maps = []
        for z, masked in enumerate(sums):
            ranges = (data_range(target[z], prediction[z]) if len(target) > 1 else volume, volume)
            maps.append(_similarity(target[z], prediction[z], ranges, _at(z, masks), weights, pool))
            for name, part, similar in zip(names, masked, maps[-1], strict=True):
                yield Unit("slice", z, None, name, _metrics(part, similar.mean(0), ranges[0], definitions, shift))
    for index, name in enumerate(names):
        similar = reduce(Similarity.__or__, (one[index] for one in maps))
        yield Unit("volume", None, None, name, _metrics(whole[index], similar.mean(1), volume, definitions, shift))


def _similarity(
    target: Image,
    prediction: Image,
    ranges: tuple[float, float],
    masks: Sequence[Mask | None],
    weights: npt.NDArray[np.float64],
    pool: Strips,
) -> list[Similarity]:
    """Return the similarities for both ranges; computed once where the slice's is the volume's."""
    if ranges[0] != ranges[1]:
        return similarity(target, prediction, ranges, masks, weights, pool)
    once = similarity(target, prediction, ranges[:1], masks, weights, pool)
    return [Similarity(one.pixels, one.sums * 2) for one in once]


def _metrics(sums: Moments, ssim: float, data_range: float, definitions: Definitions, shift: Pair) -> dict[str, float]:
    deviation, error = sums.deviation, sqrt(sums.mean_squared_error) if sums.pixels else _NAN
    divisor = {
        "std": deviation.target,
        "range": data_range,
        "norm": sums.target_root_mean_square(shift),
    }[definitions.nrmse_by]
    values = (
        _pearson(sums),
        ssim if data_range > 0 else _NAN,
        error / divisor if divisor > 0 else _NAN,
        _psnr(data_range, sums.mean_squared_error),
        sums.mean_absolute_error,
    )
    return dict(zip(INTENSITIES, values, strict=True))


def _pearson(sums: Moments) -> float:
    product = sums.deviation.target * sums.deviation.prediction
    return min(max(sums.covariance / product, -1.0), 1.0) if product > 0 else _NAN


def _psnr(data_range: float, squared_error: float) -> float:
    if not data_range > 0 or squared_error != squared_error:
        return _NAN
    return 10 * log10(data_range**2 / squared_error) if squared_error > 0 else inf


def _at(z: int, masks: Mapping[str, Mask | None]) -> list[Mask | None]:
    return [None if mask is None else mask[z] for mask in masks.values()]


def _different(name: str, wanted: tuple[int, ...], given: tuple[int, ...]) -> DatasetError:
    rule = f"must have the target's shape, {' x '.join(map(str, wanted))} px"
    return DatasetError(name, " x ".join(map(str, given)) + " px", rule, "compare images of the same position")
