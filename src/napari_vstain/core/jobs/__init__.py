"""Background work: a function on a thread, with status, signals and cancel."""

from napari_vstain.core.jobs.events import EventKind, EventQueue, JobEvent
from napari_vstain.core.jobs.job import Job, emit_isolated
from napari_vstain.core.jobs.status import FinishReason, JobState, JobStatus

__all__ = ["EventKind", "EventQueue", "FinishReason", "Job", "JobEvent", "JobState", "JobStatus", "emit_isolated"]
