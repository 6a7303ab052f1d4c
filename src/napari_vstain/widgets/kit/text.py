"""Progress, sizes and durations in the words of the docks. No Qt here."""

from napari_vstain.core.jobs import JobStatus


def progress_line(status: JobStatus) -> str:
    """Return a job's progress: ``epoch 3 / 20 · loss 0.031 · 2 min left``."""
    return " · ".join(filter(None, (progress(status), status.message, rate(status), time_left(status.eta_s))))


def rate(status: JobStatus) -> str:
    """Return how fast it goes: ``3.2 Mpx/s``; "" when unknown or without a unit that is a rate."""
    if status.rate is None or status.unit not in ("px", "Mpx"):
        return ""
    return f"{pixels(status.rate * (1 if status.unit == 'px' else 1e6))}/s"


def pixels(number: float) -> str:
    """Return an amount of pixels as people say it: ``25 px``, ``0.26 Mpx``, ``12.6 Mpx``."""
    return f"{number:.0f} px" if number < 10_000 else f"{number / 1e6:.3g} Mpx"


def time_left(seconds: float | None) -> str:
    """Return ``2 min left``; "" when unknown or nothing is left."""
    return "" if seconds is None or seconds < 0.5 else f"{duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a time as people say it: ``4 s``, ``2 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int, noun: str) -> str:
    """Return ``1 position``, ``7 positions``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def arrow(sources: tuple[str, ...], targets: tuple[str, ...]) -> str:
    """Return ``Phase → Nuclei, Membrane``."""
    return f"{', '.join(sources) or '?'} → {', '.join(targets) or '?'}"


def progress(status: JobStatus) -> str:
    """Return what is done and how much of it: ``Training 18 / 24 batches``."""
    if status.total is None:
        return status.phase
    if status.unit in ("px", "Mpx"):
        return f"{status.phase} {100 * status.done / max(status.total, 1e-9):.0f} %".strip()
    unit = f" {status.unit}" if status.unit else ""
    return f"{status.phase} {status.done:g} / {status.total:g}{unit}".strip()
