"""A model file becomes a predictor, here and on the workers of a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_vstain.core.engines import Engine, load_engine
from napari_vstain.core.engines.choice import Tell
from napari_vstain.core.inference.augment import Augmentation
from napari_vstain.core.inference.normalize import check_scaling
from napari_vstain.core.models.files.model_notes import Elsewhere, load_elsewhere
from napari_vstain.core.models.spec import ModelSpec
from napari_vstain.core.novelty import check_calibration
from napari_vstain.core.progress import CancelToken

if TYPE_CHECKING:
    from napari_vstain.core.inference.predictor import Predictor


def load_predictor(
    model: Path | str,
    *,
    augment: Augmentation | str = Augmentation.NONE,
    elsewhere: Elsewhere | None = None,
    spec: ModelSpec | None = None,
    token: CancelToken | None = None,
    tell: Tell = lambda what: None,
    **options: Any,
) -> "Predictor":
    """Return the predictor of a checkpoint or an ONNX file.

    Parameters
    ----------
    elsewhere : Elsewhere, optional
        What a VisCy checkpoint or an ONNX file of another maker does not say itself.
    spec : ModelSpec, optional
        What such an ONNX file takes and gives, when that is known already.
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
        When what is said in `elsewhere` is not enough.
    """
    from napari_vstain.core.inference.predictor import Predictor

    path = Path(model).expanduser()
    if elsewhere is not None and elsewhere.config is not None:  # workers are in other folders
        elsewhere = elsewhere.model_copy(update={"config": elsewhere.config.expanduser().absolute()})
    network, known = _read_model(path, elsewhere, spec, token)
    check_calibration(known)
    check_scaling(known)
    engine = load_engine(network, known, token=token, tell=tell, **options)
    foreign = spec is not None or _told(elsewhere)
    told: dict[str, Any] = {"spec": known} if path.suffix == ".onnx" else {"elsewhere": elsewhere}
    return Predictor(engine, known, augment=augment, origin=(path.absolute(), {**(told if foreign else {}), **options}))


def model_spec(model: Path | str, elsewhere: Elsewhere | None = None) -> ModelSpec:
    """Return what a model says of itself, or what `elsewhere` says of it; no engine is made.

    Raises
    ------
    ModelError, SettingsError
        As `load_predictor`.
    """
    path = Path(model).expanduser()
    if path.suffix != ".onnx" and not _told(elsewhere):
        from napari_vstain.core.models.files.checkpoint import load_spec

        return load_spec(path)
    return _read_model(path, elsewhere, None)[1]


def _read_model(
    path: Path, elsewhere: Elsewhere | None, spec: ModelSpec | None, token: CancelToken | None = None
) -> tuple[Any, ModelSpec]:
    """Return what `load_engine` takes, and the spec."""
    if elsewhere is not None and _told(elsewhere):
        return load_elsewhere(path, elsewhere, token)
    if path.suffix == ".onnx":
        from napari_vstain.core.models.files.onnx_file import read_spec

        return path, spec or read_spec(path)
    from napari_vstain.core.models.files.checkpoint import load_checkpoint

    known, network = load_checkpoint(path)
    return network, known


def _told(elsewhere: Elsewhere | None) -> bool:
    return elsewhere is not None and elsewhere != Elsewhere()


_CACHE: dict[Any, "Predictor"] = {}


def reloaded(path: Path, augment: Augmentation, options: dict[str, Any]) -> "Predictor":
    """Return a predictor on a worker, loaded once in its process for each model file as it is now."""
    key = (path, path.stat().st_mtime_ns, augment, repr(sorted(options.items())))
    if key not in _CACHE:
        _CACHE.clear()
        _CACHE[key] = load_predictor(path, augment=augment, **options)
    return _CACHE[key]


def rebuilt(engine: Engine, spec: ModelSpec, augment: Augmentation) -> "Predictor":
    """Return a predictor on a worker, of an engine that can travel."""
    from napari_vstain.core.inference.predictor import Predictor

    return Predictor(engine, spec, augment=augment)
