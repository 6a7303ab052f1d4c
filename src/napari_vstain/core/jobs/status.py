"""Where a job is in its life, as a snapshot that is safe to keep."""

from dataclasses import dataclass, replace
from enum import StrEnum

from napari_vstain.core.progress import Report


class JobState(StrEnum):
    """Where a job is in its life; it only moves forward."""

    IDLE = "idle"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"


class FinishReason(StrEnum):
    """Why a job ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class JobStatus:
    """A snapshot of a job, safe to keep."""

    state: JobState = JobState.IDLE
    phase: str = ""
    done: float = 0
    total: float | None = None
    unit: str = ""
    message: str = ""
    rate: float | None = None
    """Units of work a second in this phase, or None before the first is done."""
    eta_s: float | None = None
    """Seconds left in this phase, or None when unknown."""
    reason: FinishReason | None = None
    """Set when the state is DONE."""
    error: str = ""
    """What went wrong, in one sentence, when the reason is FAILED."""

    def told(self, report: Report, elapsed_s: float) -> "JobStatus":
        """Return the status after a report, made `elapsed_s` after its phase began."""
        rate = report.done / elapsed_s if report.done > 0 and elapsed_s > 0 else None
        left = None if report.total is None or rate is None else max(report.total - report.done, 0) / rate
        return replace(
            self,
            phase=report.phase,
            done=report.done,
            total=report.total,
            unit=report.unit,
            message=report.message,
            rate=rate,
            eta_s=left,
        )
