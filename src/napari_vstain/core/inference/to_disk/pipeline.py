"""Reading, computing and writing overlap: one thread reads ahead, one writes behind, both by a few tiles only."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_AHEAD = 2
"""Tiles that wait between two threads: enough to overlap, few enough to stay small."""
_END = object()


def read_ahead(items: Iterable[T], ahead: int = _AHEAD) -> Generator[T, None, None]:
    """Yield `items`, made on a thread of their own, at most `ahead` of them in advance; errors come in their place.

    Close the iterator, or use it up, and the thread ends.
    """
    queue: Queue[object] = Queue(ahead)
    stopped = Event()
    thread = Thread(target=_produce, args=(items, queue, stopped), name="vstain-reader", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        _empty(queue)
        thread.join()


class Writer:
    """Runs functions on one thread, in order, at most a few behind; the first error ends it and is raised again."""

    def __init__(self, behind: int = _AHEAD) -> None:
        self._queue: Queue[object] = Queue(behind)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="vstain-writer", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], object]) -> None:
        """Have `function` run soon; waits while too many are waiting.

        Raises
        ------
        BaseException
            What an earlier function raised; later ones were not run.
        """
        self._check()
        self._queue.put(function)
        self._check()  # what made room may be that the others are not run any more

    def finish(self) -> None:
        """Wait until all has been run, and raise what was raised."""
        self.close()
        self._check()

    def close(self) -> None:
        """Wait until all has been run; raise nothing."""
        if self._thread.is_alive():
            self._queue.put(_END)
            self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (function := self._queue.get()) is not _END:
            if self._error is not None:
                continue
            try:
                function()  # type: ignore[operator]
            except BaseException as error:
                self._error = error


@contextmanager
def writing_behind() -> Iterator[Writer]:
    """Yield a `Writer` whose waiting functions are run before the block is left, whatever ends it."""
    writer = Writer()
    try:
        yield writer
    except BaseException:
        writer.close()
        raise
    writer.finish()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _produce(items: Iterable[object], queue: "Queue[object]", stopped: Event) -> None:
    try:
        for item in items:
            queue.put(item)
            if stopped.is_set():
                return
        queue.put(_END)
    except BaseException as error:
        queue.put(_Raised(error))


def _empty(queue: "Queue[object]") -> None:
    """Make room, so that a thread that waits to put something can go on and see that it should stop."""
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
