"""Whether a driver is alive, as seen from its machine and from another one."""

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


def test_a_held_lock_means_alive(tmp_path: Path) -> None:
    """A driver that locks the study's records is alive, whatever its last status."""
    watch = DriverWatch(tmp_path)
    with RecordWriter(tmp_path):
        assert watch.alive(status("elsewhere", 1, state=FINISHED)) is True
        assert watch.alive(None) is True
    assert watch.alive(None) is False


def test_without_a_lock_a_local_process_with_a_fresh_status_is_alive(tmp_path: Path) -> None:
    """Without a lock, as during a wait for machines, a driver is alive if its status is fresh and its process exists."""
    watch = DriverWatch(tmp_path)
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert watch.alive(status(HERE, os.getpid())) is True
    assert watch.alive(status(HERE, ended.pid)) is False
    assert watch.alive(status(HERE, os.getpid(), at=time.time() - 2 * WATCH_SECONDS)) is False
    assert watch.alive(status(HERE, os.getpid(), state=FINISHED)) is False


def test_on_another_machine_a_changing_status_means_alive(tmp_path: Path) -> None:
    """The driver is alive while its status changes, by this machine's clock: the other clock may be a year off."""
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


def test_a_silent_driver_elsewhere_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look waits no longer than necessary, and reports for whom; a machine without changes has no live driver."""
    clock, watched = [0.0], list[DriverStatus]()
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    said = status("elsewhere", 1)
    said.write(tmp_path)
    assert DriverWatch(tmp_path, lambda: clock[0]).wait(watched.append) == (said, False)
    assert watched == [said]
    assert WATCH_SECONDS <= clock[0] < WATCH_SECONDS + 1
