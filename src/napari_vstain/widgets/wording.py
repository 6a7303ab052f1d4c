"""Progress, sizes and durations in the words of the docks. No Qt here."""

from napari_vstain.core.jobs import JobStatus


def progress_line(status: JobStatus) -> str:
    """Return a job's progress: ``epoch 3 / 20 · loss 0.031 · 2 min left``."""
    return " · ".join(part for part in (_amount(status), status.message, rate(status), time_left(status.eta_s)) if part)


def rate(status: JobStatus) -> str:
    """Return how fast it goes: ``3.2 Mpx/s``; "" when unknown or without a unit that is a rate."""
    if status.rate is None or status.unit not in ("px", "Mpx"):
        return ""
    mega = status.rate / 1e6 if status.unit == "px" else status.rate
    return f"{mega:.3g} Mpx/s"


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


def _amount(status: JobStatus) -> str:
    if status.total is None:
        return status.phase
    if status.unit in ("px", "Mpx"):
        return f"{status.phase} {100 * status.done / max(status.total, 1e-9):.0f} %".strip()
    unit = f" {status.unit}" if status.unit else ""
    return f"{status.phase} {status.done:g} / {status.total:g}{unit}".strip()
