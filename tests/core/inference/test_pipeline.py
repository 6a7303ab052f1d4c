"""Reading ahead and writing behind keep the order, stay few, and hand on what was raised."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_vstain.core.inference.to_disk.pipeline import Writer, read_ahead, writing_behind

PATIENCE_S = 60


def waits_for(event):
    def wait():
        assert event.wait(PATIENCE_S)

    return wait


@given(items=st.lists(st.integers()), ahead=st.integers(1, 4))
def test_what_is_read_ahead_comes_in_order(items, ahead):
    assert list(read_ahead(items, ahead)) == items


def test_an_error_in_reading_comes_in_its_place():
    def items():
        yield 1
        raise OSError("damaged")

    pieces = read_ahead(items())
    assert next(pieces) == 1
    with pytest.raises(OSError, match="damaged"):
        next(pieces)


@given(ahead=st.integers(1, 4), taken=st.integers(1, 5))
def test_no_more_is_read_ahead_than_said_and_closing_ends_the_thread(ahead, taken):
    read = []
    pieces = read_ahead((read.append(n) or n for n in range(100)), ahead)
    for _ in range(taken):
        next(pieces)
    pieces.close()
    assert taken <= len(read) <= taken + ahead + 2  # one is on its way into the queue, one was made as it was closed
    assert not [thread for thread in threading.enumerate() if thread.name == "vstain-reader"]


@given(count=st.integers(0, 20), behind=st.integers(1, 4))
def test_what_is_written_behind_is_written_in_order(count, behind):
    written = []
    writer = Writer(behind)
    for number in range(count):
        writer.submit(lambda number=number: written.append(number))
    writer.finish()
    assert written == list(range(count))


def test_what_waits_is_written_though_the_block_is_left_by_an_error():
    written, go = [], threading.Event()

    def interrupted():
        with writing_behind() as writer:
            writer.submit(waits_for(go))
            writer.submit(lambda: written.append(1))
            go.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert written == [1]


def test_after_an_error_nothing_is_written_and_who_waits_for_room_hears_it_at_once():
    fail, written = threading.Event(), []

    def full():
        waits_for(fail)()
        raise OSError("full")

    writer = Writer(behind=1)
    writer.submit(full)
    writer.submit(lambda: written.append(1))
    threading.Timer(0.1, fail.set).start()
    with pytest.raises(OSError, match="full"):
        writer.submit(lambda: written.append(2))
    with pytest.raises(OSError, match="full"):
        writer.submit(lambda: written.append(3))
    with pytest.raises(OSError, match="full"):
        writer.finish()
    assert written == []
