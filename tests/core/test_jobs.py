"""A job ends exactly once, whatever happens in it or in those who listen."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.errors import VstainError
from napari_vstain.core.jobs import EventKind, EventQueue, FinishReason, Job, JobEvent, JobState, JobStatus
from napari_vstain.core.progress import Cancelled, Progress

ENDINGS = {
    "returns": (lambda progress: 42, FinishReason.COMPLETED),
    "raises": (lambda progress: 1 / 0, FinishReason.FAILED),
    "exits": (lambda progress: exec("raise SystemExit(3)"), FinishReason.FAILED),
    "interrupted": (lambda progress: exec("raise KeyboardInterrupt"), FinishReason.FAILED),
    "cancelled": (lambda progress: (progress.token.cancel(), progress.check()), FinishReason.CANCELLED),
}


def _raise(*_: object) -> None:
    raise ValueError("a listener that raises")


@given(
    ending=st.sampled_from(sorted(ENDINGS)),
    reports=st.lists(st.integers(0, 5), max_size=4),
    raising=st.sets(st.sampled_from(["started", "progressed", "produced", "finished"])),
    stop_before_start=st.booleans(),
)
def test_a_job_finishes_exactly_once(ending, reports, raising, stop_before_start):
    function, reason = ENDINGS[ending]

    def work(progress: Progress) -> object:
        for done in reports:
            progress.advance(done)
            progress.produce(done)
        return function(progress)

    job = Job(work, "test")
    for name in raising:
        getattr(job, name).connect(_raise)
    heard: list[FinishReason] = []
    states: list[JobState] = []
    job.finished.connect(heard.append)
    job.finished.connect(lambda _: states.append(job.status.state))
    queue = job.subscribe()
    if stop_before_start:
        job.stop()
        reason = FinishReason.CANCELLED
    job.start()
    assert job.wait(5)
    assert heard == [reason]
    assert states == [JobState.DONE]
    assert job.status.reason is reason
    assert [event.kind for event in queue.drain()].count(EventKind.FINISHED) == 1


@given(st.lists(st.sampled_from(list(EventKind)), max_size=30))
def test_only_progress_that_was_overtaken_is_dropped(kinds):
    queue = EventQueue()
    for number, kind in enumerate(kinds):
        queue.put(JobEvent(kind, JobStatus(done=number)))
    expected = [
        (kind, number)
        for number, kind in enumerate(kinds)
        if not (kind is EventKind.PROGRESSED and kinds[number + 1 : number + 2] == [EventKind.PROGRESSED])
    ]
    assert [(event.kind, event.status.done) for event in queue.drain()] == expected


def test_drain_keeps_to_its_budget_and_loses_nothing():
    queue = EventQueue()
    for number in range(3):
        queue.put(JobEvent(EventKind.PRODUCED, JobStatus(), number))
    assert [event.item for event in queue.drain(budget_s=0)] == [0]
    assert [event.item for event in queue.drain()] == [1, 2]


def test_stop_ends_a_job_that_checks():
    entered = threading.Event()

    def work(progress: Progress) -> None:
        entered.set()
        while True:
            progress.check()

    job = Job(work, "endless").start()
    assert entered.wait(5)
    job.stop()
    assert job.wait(5)
    assert job.status.reason is FinishReason.CANCELLED
    with pytest.raises(Cancelled):
        job.result()


def test_result_returns_or_raises_what_the_function_did():
    assert Job(lambda progress: 7, "seven").start().result() == 7
    job = Job(
        lambda progress: exec("raise VstainError('tile', 3, 'is odd', 'use 4')", {"VstainError": VstainError}), "x"
    )
    with pytest.raises(VstainError, match="tile 3: is odd; use 4"):
        job.start().result()
    assert job.status.error == "tile 3: is odd; use 4."


def test_what_was_kept_at_the_stop_is_handed_on():
    def work(progress: Progress) -> None:
        raise Cancelled("half a store")

    with pytest.raises(Cancelled) as caught:
        Job(work, "half").start().result()
    assert caught.value.kept == "half a store"


def test_a_job_runs_once():
    job = Job(lambda progress: None, "once").start()
    with pytest.raises(RuntimeError, match="started before"):
        job.start()


def test_a_finished_job_holds_on_to_no_closure():
    import weakref

    class Model:
        pass

    model = Model()
    gone = weakref.ref(model)
    job = Job(lambda progress, held=model: None, "holds")
    job.start().result()
    del model
    assert gone() is None


def test_rate_and_time_left_are_of_the_phase():
    seen: list[JobStatus] = []

    def work(progress: Progress) -> None:
        progress.phase("reading", total=4, unit="tiles")
        progress.token.wait(0.01)
        progress.advance(2)

    job = Job(work, "rate")
    job.progressed.connect(seen.append)
    job.start().result()
    assert seen[0].rate is None and seen[0].eta_s is None
    assert 0 < seen[1].rate <= 200
    assert seen[1].eta_s == pytest.approx(2 / seen[1].rate)


def test_a_late_subscriber_hears_that_it_is_over():
    job = Job(lambda progress: None, "late").start()
    job.wait(5)
    assert [event.kind for event in job.subscribe().drain()] == [EventKind.FINISHED]


def test_an_engine_is_interrupted_by_the_token():
    interrupted = threading.Event()

    def work(progress: Progress) -> None:
        forget = progress.token.on_cancel(interrupted.set)
        assert interrupted.wait(5)
        forget()
        progress.check()

    job = Job(work, "tile").start()
    job.stop()
    job.wait(5)
    assert job.status.reason is FinishReason.CANCELLED


def test_a_blocked_signal_is_not_heard():
    job = Job(lambda progress: progress.produce(1), "test")
    heard = []
    job.produced.connect(heard.append)
    with job.produced.blocked():
        job.start().wait()
    assert heard == []


def test_a_record_keeps_what_is_produced_before_anybody_hears_of_it():
    class Record:
        def __init__(self):
            self.items = []

        def take(self, item):
            self.items.append(item)

    record = Record()
    job = Job(lambda progress: [progress.produce(item) for item in range(3)], "test", record=record)
    known = []
    job.produced.connect(lambda item: known.append(item in record.items))
    job.start().wait()
    assert record.items == [0, 1, 2]
    assert known == [True, True, True]
