"""The hop to the main thread: every event arrives, in order, in small slices, and nobody is kept alive."""

import gc
import threading
import weakref

import pytest
from qtpy.QtCore import QObject

from napari_vstain.core.jobs import FinishReason, Job
from napari_vstain.core.session import Session
from napari_vstain.widgets.main_thread import JobEventPump, LatestOnly, run_in_steps


@pytest.fixture
def session():
    made = Session()
    yield made
    assert made.close(timeout_s=10)


@pytest.fixture
def pump(qtbot):
    made = JobEventPump()
    yield made
    made.stop()


def test_everything_a_job_says_arrives_on_the_main_thread_in_order(qtbot, pump):
    heard, threads = [], set()

    def take(item):
        heard.append(item)
        threads.add(threading.current_thread())

    job = Job(lambda progress: [progress.produce(n) for n in range(200)], "count")
    ends = []
    pump.listen(job, produced=take, finished=ends.append)
    job.start()
    qtbot.waitUntil(lambda: bool(ends))
    assert heard == list(range(200))
    assert threads == {threading.main_thread()}
    assert [status.reason for status in ends] == [FinishReason.COMPLETED]


def test_a_slow_listener_does_not_hold_the_main_thread_for_longer_than_its_budget(qtbot, pump):
    import time

    heard = []
    queued = Job(lambda progress: [progress.produce(n) for n in range(100)], "count")
    pump.listen(queued, produced=lambda item: (heard.append(item), time.sleep(0.002)))
    queued.start()
    queued.wait()
    began = time.perf_counter()
    pump.drain()
    assert time.perf_counter() - began < 0.05
    assert 0 < len(heard) < 100
    qtbot.waitUntil(lambda: len(heard) == 100)


def test_a_listener_that_raises_is_logged_and_hears_the_rest(qtbot, pump, caplog):
    heard = []

    def take(item):
        heard.append(item)
        raise ValueError(item)

    job = Job(lambda progress: [progress.produce(n) for n in range(3)], "count")
    pump.listen(job, produced=take)
    job.start()
    qtbot.waitUntil(lambda: heard == [0, 1, 2])
    assert "failed to show" in caplog.text


def test_a_listener_hears_nothing_once_its_owner_is_gone(qtbot, pump):
    heard = []
    owner = QObject()
    job = Job(lambda progress: progress.token.wait(5), "wait")
    pump.listen(job, owner, finished=heard.append)
    job.start()
    owner.deleteLater()
    with qtbot.waitSignal(owner.destroyed):
        pass
    job.stop()
    job.wait()
    pump.drain()
    assert heard == []


def test_the_pump_rests_and_holds_no_job_when_nobody_listens(qtbot, pump):
    job = Job(lambda progress: None, "short")
    ends = []
    pump.listen(job, finished=ends.append)
    job.start()
    qtbot.waitUntil(lambda: bool(ends) and not pump._timer.isActive())
    gone = weakref.ref(job)
    del job
    gc.collect()
    assert gone() is None


def test_a_background_call_answers_on_the_main_thread(qtbot, pump, session):
    answers, errors = [], []
    pump.call(session, lambda progress: threading.current_thread(), answers.append, errors.append)
    qtbot.waitUntil(lambda: bool(answers))
    assert answers[0] is not threading.main_thread()

    def fail(progress):
        raise LookupError("nothing there")

    pump.call(session, fail, answers.append, errors.append)
    qtbot.waitUntil(lambda: bool(errors))
    assert isinstance(errors[0], LookupError)
    assert len(answers) == 1


def test_a_late_answer_to_an_old_question_is_dropped():
    heard, questions = [], LatestOnly()
    first, second = questions.ask(heard.append), questions.ask(heard.append)
    second("new")
    first("old")
    assert heard == ["new"]


def test_steps_are_spread_over_turns_of_the_event_loop(qtbot):
    turns, done = [], []
    owner = QObject()

    def steps():
        for turn in range(3):
            turns.append(turn)
            yield

    run_in_steps(owner, steps(), lambda: done.append(True))
    assert turns == []
    qtbot.waitUntil(lambda: bool(done))
    assert turns == [0, 1, 2]
