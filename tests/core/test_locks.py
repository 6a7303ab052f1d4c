"""Whoever holds a lock is alone, whatever happens to the others."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from napari_vstain.core import locks
from napari_vstain.core.errors import BusyError, StorageError
from napari_vstain.core.files import atomically, remove_leftovers, temporary_beside
from napari_vstain.core.locks import holder, locked
from napari_vstain.core.owners import Owner

_COUNT = """
import os, sys
from pathlib import Path
from napari_vstain.core.locks import locked
counter, rounds = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(rounds):
    with locked(counter):
        value = int(counter.read_text())
        os.write(1, b"s")  # somebody may kill us here
        new = counter.with_name(f"{os.getpid()}")
        new.write_text(str(value + 1))
        new.replace(counter)
        os.write(1, b"e")
"""
_HOLD = """
import sys, time
from pathlib import Path
from napari_vstain.core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def _start(script: str, *arguments: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE)


def _ended(child: "subprocess.Popen[bytes]") -> bytes:
    """Return the rest of what it says."""
    with child:
        assert child.stdout is not None
        said = child.stdout.read()
    assert child.returncode == 0
    return said


def test_nothing_is_lost_between_eight_processes(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    children = [_start(_COUNT, counter, 20) for _ in range(8)]
    assert [_ended(child) for child in children] == [b"se" * 20] * 8
    assert counter.read_text() == "160"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_killed_processes_keep_nobody_out_and_two_are_never_inside(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    children = [_start(_COUNT, counter, 1000 if number < 3 else 25) for number in range(6)]
    said = [b""] * 3
    draw = random.Random(0)
    for number, child in enumerate(children[:3]):
        assert child.stdout is not None
        said[number] += child.stdout.read(2)
        time.sleep(draw.uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        with child:
            said[number] += child.stdout.read()
    assert [_ended(child) for child in children[3:]] == [b"se" * 25] * 3
    ended = sum(word.count(b"e") for word in said) + 75
    begun = sum(word.count(b"s") for word in said) + 75
    assert ended <= int(counter.read_text()) <= begun
    with locked(counter, timeout_s=60):
        pass
    assert not list(tmp_path.glob(".*"))


def test_the_sentence_names_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    child = _start(_HOLD, path)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        said = rf"metrics.csv': process {child.pid} on [\w-]+ is changing it; wait"
        with pytest.raises(BusyError, match=said), locked(path, timeout_s=0.1):
            pass
        found = holder(path)
        assert found is not None and found.owner.pid == child.pid
    finally:
        with child:
            child.kill()
    assert holder(path) is None


def test_of_two_that_find_a_dead_owner_exactly_one_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"
    entered: list[threading.Thread] = []
    most = 0

    def take(ready: threading.Barrier) -> None:
        nonlocal most
        ready.wait()
        with locked(path, timeout_s=120):
            entered.append(threading.current_thread())
            most = max(most, len(entered))
            time.sleep(0.001)
            entered.pop()

    dead = _dead_owner()
    for _ in range(25):
        _leave(path, dead)
        threads = [threading.Thread(target=take, args=[ready]) for ready in [threading.Barrier(4)] for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1
        assert not list(tmp_path.iterdir())


def test_an_owner_on_another_machine_is_believed_until_its_heart_stops(tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"
    file = _leave(path, Owner("cluster7", "abc", 12, 34, "u"))
    with pytest.raises(BusyError, match="process 12 on cluster7"), locked(path, timeout_s=0):
        pass
    old = time.time() - locks.STALE_S - 5
    os.utime(file, (old, old))
    with locked(path, timeout_s=0):
        assert not file.exists()


def test_a_number_that_another_process_got_since_is_no_owner(tmp_path: Path) -> None:
    me = Owner.me()
    _leave(tmp_path / "a", Owner(me.machine, me.boot, me.pid, me.began - 1000, "u"))
    with locked(tmp_path / "a", timeout_s=0):
        pass


def test_a_lock_that_was_lost_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"

    def lose() -> None:
        with locked(path) as lock:
            lock.check()
            next(lock.folder.iterdir()).rename(lock.folder / str(Owner("other", "b", 1, 1, "u")))
            with pytest.raises(StorageError, match="another one took the lock"):
                lock.check()

    with pytest.raises(StorageError, match="another one took the lock"):
        lose()
    assert holder(path) is not None, "the other one's lock was given back"


def test_a_thread_does_not_wait_for_itself(tmp_path: Path) -> None:
    with locked(tmp_path / "a"), pytest.raises(RuntimeError, match="this thread"), locked(tmp_path / "x/../a"):
        pass


def test_a_long_wait_can_be_ended(tmp_path: Path) -> None:
    _leave(tmp_path / "a", Owner("cluster7", "abc", 12, 34, "u"))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "a", waiting=stop):
        pass


def test_the_heart_beats_while_a_lock_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_S", 0.01)
    with locked(tmp_path / "a") as lock:
        file = next(lock.folder.iterdir())
        os.utime(file, (0, 0))
        until = time.monotonic() + 10
        while file.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.005)
        assert file.stat().st_mtime > 0


def test_a_store_whose_parent_is_not_ours_is_locked_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "facility" / "plate.zarr"
    store.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != store.parent)
    with locked(store) as lock:
        assert lock.folder.parent == store


def test_what_dead_processes_left_goes_with_the_next_write_and_what_others_need_stays(tmp_path: Path) -> None:
    target = tmp_path / "notes.json"
    me = Owner.me()
    left = [_named(target, _dead_owner()), _named(target, Owner(me.machine, me.boot, me.pid, 5, "u"))]
    needed = [temporary_beside(target), _named(target, Owner("cluster7", "abc", 12, 34, "u"))]
    other = [tmp_path / ".partial", tmp_path / ".notes.partial", tmp_path / "notes.partial"]
    for path in [*left, *needed, *other]:
        path.touch()
    folder = _named(target, _dead_owner())
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    with atomically(target) as temporary:
        temporary.write_text("x")
    assert set(tmp_path.iterdir()) == {target, *needed, *other}
    os.utime(needed[1], (0, 0))
    remove_leftovers(tmp_path)
    assert not needed[1].exists(), "of another machine, forgotten for more than a week"


def test_an_owner_is_written_and_read() -> None:
    me = Owner.me()
    assert Owner.parse(str(me)) == me
    assert me.lives() is True
    assert me.machine in socket.gethostname().replace("_", "-")
    assert Owner.parse("notes") is None
    assert me != Owner.me()


def _dead_owner() -> Owner:
    me = Owner.me()
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    return Owner(me.machine, me.boot, child.pid, me.began, me.unique)


def _named(target: Path, owner: Owner) -> Path:
    return target.with_name(f".{target.name}.{owner}.partial")


def _leave(path: Path, owner: Owner) -> Path:
    """Leave a lock of `path` behind, as `owner` would."""
    folder = path.with_name(f".{path.name}.lock")
    folder.mkdir(parents=True)
    (folder / str(owner)).touch()
    return folder / str(owner)
