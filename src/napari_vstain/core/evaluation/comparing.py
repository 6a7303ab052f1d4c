"""The comparison of one run's predictions with their targets, position by position."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_vstain.core.arrays import Image
from napari_vstain.core.data import Dataset, Position, open_dataset
from napari_vstain.core.data.identity import Identity, content_of, identify
from napari_vstain.core.data.predicted import made_from, record_of
from napari_vstain.core.errors import ChannelError, DatasetError, VstainError
from napari_vstain.core.evaluation.baseline import Baseline, fit_baseline
from napari_vstain.core.evaluation.columns import family_of
from napari_vstain.core.evaluation.families.family import Context, MetricFamily, Unit
from napari_vstain.core.evaluation.predicted_stores import SUFFIX, Predictions
from napari_vstain.core.evaluation.settings import EvaluateSettings
from napari_vstain.core.evaluation.table import Row
from napari_vstain.core.evaluation.trained_on import slices_of, trained_on
from napari_vstain.core.experiments import Experiment
from napari_vstain.core.groundtruth import UNREVIEWED
from napari_vstain.core.left_out import LeftOut, leaving_out
from napari_vstain.core.models import Normalization
from napari_vstain.core.preprocessing import usable_statistics
from napari_vstain.core.progress import Progress
from napari_vstain.core.workspace import Workspace

Masks = dict[str, npt.NDArray[np.bool_] | None]


@dataclass
class Comparison:
    """One evaluation while it runs."""

    settings: EvaluateSettings
    experiment: Experiment
    predictions: Predictions
    dataset: Dataset
    left_out: list[LeftOut]
    splits: Mapping[str, str]
    verdicts: Mapping[str, str]
    baseline: Baseline | None = None
    compared: dict[tuple[str, str], Identity] = field(default_factory=dict)
    """What the pixels of each position and target were."""
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def families(self) -> Mapping[str, MetricFamily]:
        """How each target channel is compared; outputs of a kind that no family compares are none."""
        known = ((one, family_of(one.kind)) for one in self.predictions.spec.outputs)
        return {name: family for one, family in known if family is not None for name in one.channels}

    @property
    def targets(self) -> tuple[str, ...]:
        """The stain channels that are compared."""
        return tuple(self.families)

    def usable(self, keys: Sequence[str]) -> list[str]:
        """Return the positions that have every target, in the shape that was predicted; the others are left out."""
        found = []
        for key in keys:
            with leaving_out(key, self.left_out):
                self._check(key)
                found.append(key)
        return found

    def _check(self, key: str) -> None:
        truth, guess = self.dataset.position(key), self.predictions.store.position(key)
        for target in self.targets:
            _has_target(truth, target)
            guess.channel_index(target + SUFFIX)
        (t, _, *zyx), (times, _, *predicted) = truth.shape, guess.shape
        if [t, *zyx] != [times, *predicted]:
            rule = f"has {_size(truth.shape)} px (T, Z, Y, X) and its prediction {_size(guess.shape)}"
            raise DatasetError("position", key, rule, "evaluate on the dataset that was predicted")

    def fit(self, workspace: Workspace, progress: Progress) -> None:
        """Fit the baseline on the training positions; when they cannot be read, say so and go on without."""
        if not self.settings.baseline:
            return
        try:
            training = open_dataset(workspace.find_dataset(trained_on(self.predictions)), workspace)
            planes = slices_of(training, self.predictions.spec.training.positions.train, self.settings.baseline_planes)
            progress.phase("Fitting the trivial baseline", len(planes), "slices")
            self.baseline = fit_baseline(self._pairs(training, planes, progress), self.settings.threads)
        except VstainError as error:
            self.warnings.append(f"There is no trivial baseline: {error}")

    def rows(self, keys: Sequence[str], progress: Progress) -> list[Row]:
        """Return the rows of every position."""
        times = sum(self.dataset.position(key).shape[0] for key in keys)
        progress.phase("Comparing", times * len(self.targets), "images")
        rows = []
        for key in keys:
            with leaving_out(key, self.left_out):
                rows += list(self._position(key, progress))  # of a position that is damaged midway, nothing
        return rows

    def _position(self, key: str, progress: Progress) -> Iterator[Row]:
        position, predicted = self.dataset.position(key), self.predictions.store.position(key)
        prediction = made_from(record_of(predicted))
        for target in self.targets:
            pixels = identify(position, [target])  # before they are read: what changes meanwhile shows later
            self.compared[key, target] = replace(pixels, content=content_of(position, [target], progress.check))
        for t in range(position.shape[0]):
            guesses = self._baseline(position, t)
            for index, target in enumerate(self.targets):
                truth = position.read([target], t)[0]
                masks = self._masks(truth)
                guess = predicted.read([target + SUFFIX], t)[0]
                compared = {"model": guess} if guesses is None else {"model": guess, "baseline": guesses[index]}
                for predictor, made in compared.items():
                    for row in self._scored(predictor, key, target, t, truth, made, masks, progress):
                        yield row._replace(prediction=prediction, target=self.compared[key, target].digest)
                progress.advance()

    def _scored(
        self,
        predictor: str,
        key: str,
        target: str,
        t: int,
        truth: Image,
        guess: Image,
        masks: Masks,
        progress: Progress,
    ) -> Iterator[Row]:
        context = Context(masks, self.settings.metrics, self.settings.threads)
        for unit in self.families[target].score(truth, guess, context):
            progress.check()
            if unit.level not in self.settings.levels:
                continue
            self._note_undefined(target, key, t, predictor, unit)
            yield Row(
                self.experiment.name, self.predictions.run, self.predictions.spec.fingerprint, predictor,
                self.dataset.name, key, self.splits.get(key, ""), self.verdicts.get(key, UNREVIEWED), target,
                t, unit.z, unit.level, unit.object_id, unit.mask, unit.values,
            )  # fmt: skip

    def _note_undefined(self, target: str, key: str, t: int, predictor: str, unit: Unit) -> None:
        undefined = [name for name, value in unit.values.items() if np.isnan(value)]
        if undefined:
            place = f"t {t}" if unit.z is None else f"t {t}, z {unit.z}"
            why = self.families[target].why(unit)
            self.warnings.append(f"{target} at {key}, {place}, {predictor}: {why}, so {', '.join(undefined)} is empty.")

    def _baseline(self, position: Position, t: int) -> npt.NDArray[np.float32] | None:
        if self.baseline is None:
            return None
        channels = self.predictions.details(position.key).get("sources") or self.predictions.spec.sources
        made = self.baseline.predict(self._source(position, channels, t), self.settings.threads)
        spec = self.predictions.spec
        if spec.target_normalization.level != "dataset":
            for one, target in zip(made, self.targets, strict=True):
                offset, divisor = map(np.float32, spec.target_offset_and_divisor(target))
                one *= divisor
                one += offset
        return made

    def _pairs(
        self, dataset: Dataset, planes: Sequence[tuple[str, int, int]], progress: Progress
    ) -> Iterator[tuple[Image, Image]]:
        """Yield slices of sources and targets as the model learned them, but for one affine map of all images.

        Least squares do not mind that one; but where images were normalized each by itself, so are they here.
        """
        spec = self.predictions.spec
        for key, t, z in planes:
            position, part = dataset.position(key), slice(z, z + 1)
            for target in self.targets:
                _has_target(position, target)
            stain = position.read(list(self.targets), t, part)
            source = self._source(position, spec.sources, t, part)
            yield source, _by_itself(stain, position, self.targets, spec.target_normalization, t)
            progress.advance()

    def _source(self, position: Position, channels: Sequence[str], t: int, z: slice = slice(None)) -> Image:
        pixels = position.read(list(channels), t, z)
        return _by_itself(pixels, position, channels, self.predictions.spec.source_normalization, t)

    def _masks(self, truth: Image) -> Masks:
        return {name: _foreground(truth) if name == "foreground" else None for name in self.settings.masks}


def _by_itself(pixels: Image, position: Position, channels: Sequence[str], used: Normalization, t: int) -> Image:
    """Return pixels (C, Z, Y, X) normalized by the position's own statistics, unless the level is ``dataset``."""
    if used.level == "dataset":
        return pixels
    pairs = [used.offset_and_divisor(usable_statistics(position, channel, used, t)) for channel in channels]
    offset, divisor = np.array(pairs).T[:, :, None, None, None]
    return np.asarray((pixels - offset) / divisor, np.float32)


def _has_target(position: Position, target: str) -> None:
    if target not in position.channels:
        rule = f"position {position.key} has {', '.join(position.channels)}, and no target to compare with"
        raise ChannelError("target channel", target, rule, "evaluate positions where the stain was imaged")


def _foreground(truth: Image) -> npt.NDArray[np.bool_]:
    """Return the pixels above the Otsu threshold of the volume; none when it is constant."""
    from skimage.filters import threshold_otsu

    values = truth[np.isfinite(truth)] if truth.dtype.kind == "f" else truth
    if not values.size or values.min() == values.max():
        return np.zeros(truth.shape, bool)
    return np.asarray(truth > threshold_otsu(values), bool)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(shape[axis]) for axis in (0, 2, 3, 4))
