"""A model file becomes a predictor, here and on the workers of a cluster."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_vstain.core.engines import load_engine
from napari_vstain.core.engines.choice import Tell
from napari_vstain.core.inference.augment import Augmentation
from napari_vstain.core.inference.normalize import check_scaling
from napari_vstain.core.inference.predictor import Predictor
from napari_vstain.core.inference.resampling import SAME_SIZE, Factors
from napari_vstain.core.models.files.model_file import ModelFile, open_model
from napari_vstain.core.models.files.model_notes import ModelNotes
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.novelty import check_calibration
from napari_vstain.core.progress import CancelToken


def load_predictor(
    model: ModelFile | Path | str,
    *,
    augment: Augmentation | str = Augmentation.NONE,
    notes: ModelNotes | None = None,
    spec: ModelSpec | None = None,
    token: CancelToken | None = None,
    tell: Tell = lambda what: None,
    **options: Any,
) -> Predictor:
    """Return the predictor of a model file, or of the path of one.

    Parameters
    ----------
    notes, spec : optional
        What is said or known of a third-party file, for a path: see `open_model`.
    token : CancelToken, optional
        Asked while a file of another maker is followed or measured, and while the engines are.
    tell
        Called with the name of each engine before it is measured.
    options
        ``engine``, ``device``, ``precision``, ``threads``: as `engines.load_engine` takes them.

    Raises
    ------
    ModelError
        When the file is not a model, or is truncated.
    SettingsError
        When what is said of it is not enough.
    """
    file = open_model(model, notes, spec) if isinstance(model, (str, Path)) else model
    known, network = file.load(token)
    check_calibration(known)
    check_scaling(known)
    engine = load_engine(network, known, token=token, tell=tell, **options)
    return Predictor(engine, known, augment=augment, origin=LoadedFrom(file, options))


@dataclass(frozen=True)
class LoadedFrom:
    """Where a predictor comes from: so little travels to the workers of a cluster, which load it themselves."""

    file: ModelFile
    options: dict[str, Any]
    """Of `engines.load_engine`."""

    def load(self, augment: Augmentation, factors: Factors) -> Predictor:
        """Return the predictor, loaded once in this process for each model file as it is now."""
        options = sorted(self.options.items())
        key = (self.file.path.stat().st_mtime_ns, augment, repr((self.file, options)))
        if key not in _CACHE:
            _CACHE.clear()
            _CACHE[key] = load_predictor(self.file, augment=augment, **self.options)
        return _CACHE[key] if factors == SAME_SIZE else _CACHE[key].resampled(factors)

    def with_threads(self, threads: int) -> "LoadedFrom | None":
        """Return the same for workers of so many threads each; None when it was loaded for another number."""
        return None if self.options.get("threads") else replace(self, options={**self.options, "threads": threads})


_CACHE: dict[Any, Predictor] = {}
