"""Of the engines that are here, the fastest: measured once on a small probe, checked, and remembered."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from napari_vstain.core.arrays import Array
from napari_vstain.core.engines.base import Engine, EngineName, Precision
from napari_vstain.core.errors import StorageError, VstainError
from napari_vstain.core.files import cache_folder, write_text
from napari_vstain.core.models.spec import Dimensions, ModelSpec
from napari_vstain.core.progress import CancelToken

AGREEMENT = 1e-5
"""Relative RMS up to which engines may differ in float32: one that differs more is not chosen."""
_TOLERANCE = 1e-2
"""Relative RMS to float32 up to which ``precision: auto`` may choose a reduced precision."""
_PROBE_S = 0.4
COMPARE_S = 60.0
"""Once one engine is measured, no other is begun after so many seconds: whoever waits is better served by a tile."""
_REFERENCES = (EngineName.TORCH, EngineName.ONNXRUNTIME, EngineName.OPENVINO)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One way to run a network."""

    engine: EngineName
    device: str
    precision: Precision

    def __str__(self) -> str:
        place = "" if self.device == "cpu" else f" on {self.device}"
        return f"{self.engine}{place}{'' if self.precision is Precision.FLOAT32 else f' {self.precision}'}"


Build = Callable[[Candidate, str], Engine]
"""``build(candidate, reason)``; raises a VstainError when the candidate cannot run the network."""


Tell = Callable[[str], object]
"""Hears what is measured now, for people."""


@dataclass(frozen=True)
class Trial:
    """What a candidate did with the probe."""

    candidate: Candidate
    outputs: Array
    """Everything it returned, flattened."""
    pixels_per_s: float


def fastest(
    candidates: Sequence[Candidate],
    build: Build,
    spec: ModelSpec,
    key: str,
    token: CancelToken,
    tell: Tell = lambda what: None,
) -> Engine:
    """Return the fastest engine among the candidates that compute the same, remembered under `key`.

    Parameters
    ----------
    tell
        Called with each candidate's name before it is measured.

    Raises
    ------
    VstainError
        When none can run the network: what the last of them said.
    Cancelled
        Between two candidates.
    """
    remembered = _recall(key, candidates)
    if remembered is not None:
        try:
            return build(*remembered)
        except VstainError as error:
            _log.warning("the engine chosen before cannot be used (%s); the choice is made again", error)
    trials, refusals = _try_all(candidates, build, spec, token, tell)
    sound = _sound(trials, refusals)
    best = max(sound, key=lambda trial: trial.pixels_per_s)
    reason = _reason(best, sound, refusals)
    _remember(key, best.candidate, reason)
    return build(best.candidate, reason)


def reduced_error(engine: Engine, reference: Engine, spec: ModelSpec) -> float:
    """Return the relative RMS between two engines on the probe."""
    batch = probe(spec)
    return _relative_rms(_flat(engine.run(batch)), _flat(reference.run(batch)))


def probe(spec: ModelSpec) -> Array:
    """Return a small batch of noise, normalized, (1, C, Y, X) or (1, C, Z, Y, X), on the stride grid."""
    flat = spec.dimensions is Dimensions.TWO
    side = 256 if flat else 128
    y, x = (-(-side // stride) * stride for stride in spec.stride[1:])
    slices = spec.z_window if spec.dimensions is Dimensions.WINDOW else -(-max(spec.z_window, 8) // spec.stride[0])
    depth = () if flat else (slices if spec.dimensions is Dimensions.WINDOW else slices * spec.stride[0],)
    generator = np.random.default_rng(0)
    return generator.standard_normal((1, len(spec.sources), *depth, y, x), dtype=np.float32)


def _relative_rms(found: Array, expected: Array) -> float:
    """Return the RMS difference over the standard deviation of what was expected; infinite where sizes differ."""
    if found.shape != expected.shape:
        return float("inf")
    difference = float(np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2)))
    scale = float(np.std(expected, dtype=np.float64))
    return difference / scale if scale else float(difference > 0)


def memory_key(*parts: object) -> str:
    """Return a short name for what a choice depends on."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]


def _try_all(
    candidates: Sequence[Candidate], build: Build, spec: ModelSpec, token: CancelToken, tell: Tell
) -> tuple[list[Trial], list[str]]:
    trials: list[Trial] = []
    refusals: list[str] = []
    problem: VstainError | None = None
    began = time.perf_counter()
    for candidate in candidates:
        token.check()
        if trials and time.perf_counter() - began > COMPARE_S:
            refusals.append(f"{candidate}: not tried, since comparing took longer than {COMPARE_S:.0f} s")
            continue
        tell(str(candidate))
        try:
            trials.append(_measured(candidate, build(candidate, ""), probe(spec), token))
        except VstainError as error:
            problem = error
            refusals.append(f"{candidate}: {error.rule}")
    if problem is not None and not trials:
        raise problem
    return trials, refusals


def _measured(candidate: Candidate, engine: Engine, batch: Array, token: CancelToken) -> Trial:
    outputs = _flat(engine.run(batch, token))
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < _PROBE_S and len(seconds) < 20):
        began = time.perf_counter()
        engine.run(batch, token)
        seconds.append(time.perf_counter() - began)
    pixels = batch[0, 0].size
    return Trial(candidate, outputs, pixels / min(seconds))


def _sound(trials: list[Trial], refusals: list[str]) -> list[Trial]:
    """Return the trials that agree with the reference; say of the others how far they are off."""
    full = [trial for trial in trials if trial.candidate.precision is Precision.FLOAT32] or trials
    reference = min(full, key=lambda trial: _REFERENCES.index(trial.candidate.engine))
    kept = []
    for trial in trials:
        error = _relative_rms(trial.outputs, reference.outputs)
        allowed = AGREEMENT if trial.candidate.precision is Precision.FLOAT32 else _TOLERANCE
        if error <= allowed:
            kept.append(trial)
        else:
            refusals.append(f"{trial.candidate}: {error:.1e} off {reference.candidate}, more than {allowed:.0e}")
    return kept


def _reason(best: Trial, sound: list[Trial], refusals: list[str]) -> str:
    others = [trial for trial in sorted(sound, key=lambda trial: -trial.pixels_per_s) if trial is not best]
    shown = [f"{trial.candidate} {trial.pixels_per_s / 1e6:.2f}" for trial in others] + refusals
    rest = f" ({'; '.join(shown)})" if shown else ""
    return f"the fastest on a small probe, {best.pixels_per_s / 1e6:.2f} Mpx/s{rest}"


def _flat(outputs: dict[str, Array]) -> Array:
    return np.concatenate([array.ravel() for array in outputs.values()])


def _recall(key: str, candidates: Sequence[Candidate]) -> tuple[Candidate, str] | None:
    try:
        stored = json.loads((cache_folder("engines") / f"{key}.json").read_text(encoding="utf-8"))
        candidate = next(known for known in candidates if asdict(known) == stored["candidate"])
        return candidate, str(stored["reason"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None


def _remember(key: str, candidate: Candidate, reason: str) -> None:
    text = json.dumps({"candidate": asdict(candidate), "reason": reason}, indent=1)
    try:
        write_text(cache_folder("engines") / f"{key}.json", text)
    except StorageError as error:
        _log.info("the choice of engine is not kept for the next time: %s", error)
