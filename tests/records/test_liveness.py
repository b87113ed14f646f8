"""Whether a driver lives, as seen from its own machine and from another one."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from segsweep.records.driver_status import FINISHED, RUNNING, DriverStatus
from segsweep.records.liveness import WATCH_SECONDS, DriverWatch
from segsweep.records.writer import RecordWriter

HERE = socket.gethostname()


def status(host: str, pid: int, revision: int = 1, state: str = RUNNING, at: float | None = None) -> DriverStatus:
    now = time.time() if at is None else at
    return DriverStatus(host, pid, "python a.py", "/", now, now, revision, state)


def test_the_lock_says_it(tmp_path: Path) -> None:
    """A driver that holds the study's records lives, whatever its last status says."""
    watch = DriverWatch(tmp_path)
    with RecordWriter(tmp_path):
        assert watch.alive(status("elsewhere", 1, state=FINISHED)) is True
        assert watch.alive(None) is True
    assert watch.alive(None) is False


def test_on_its_own_machine_its_process_and_its_last_word_say_it(tmp_path: Path) -> None:
    """Without a lock, as while machines are waited for, a driver lives that wrote lately; one whose process is gone does not."""
    watch = DriverWatch(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert watch.alive(status(HERE, os.getpid())) is True
    assert watch.alive(status(HERE, ended.pid)) is False
    assert watch.alive(status(HERE, os.getpid(), at=time.time() - 2 * WATCH_SECONDS)) is False
    assert watch.alive(status(HERE, os.getpid(), state=FINISHED)) is False


def test_on_another_machine_whose_lock_is_not_seen_its_changes_say_it(tmp_path: Path) -> None:
    """It lives while its status changes, by this machine's time alone: the other clock may be a year off."""
    clock = [0.0]
    watch = DriverWatch(tmp_path, lambda: clock[0])
    assert watch.alive(status("elsewhere", 1, 1, at=1.0)) is None
    clock[0] = 5.0
    assert watch.alive(status("elsewhere", 1, 1, at=1.0)) is None
    clock[0] = 6.0
    assert watch.alive(status("elsewhere", 1, 2, at=2.0)) is True
    clock[0] = 6.0 + WATCH_SECONDS - 0.1
    assert watch.alive(status("elsewhere", 1, 2, at=2.0)) is True
    clock[0] = 6.0 + WATCH_SECONDS
    assert watch.alive(status("elsewhere", 1, 2, at=2.0)) is False
    assert watch.alive(status("elsewhere", 1, 3, FINISHED)) is False


def test_a_driver_elsewhere_that_says_nothing_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look waits no longer than it must, and says for whom; a machine that has changed nothing meanwhile has no driver."""
    clock, watched = [0.0], list[DriverStatus]()
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    said = status("elsewhere", 1)
    said.write(tmp_path)
    assert DriverWatch(tmp_path, lambda: clock[0]).wait(watched.append) == (said, False)
    assert watched == [said]
    assert WATCH_SECONDS <= clock[0] < WATCH_SECONDS + 1
