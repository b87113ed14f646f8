"""Records with a clock that is set back, with a full disk, and with readers during the start of a driver."""

import errno
import fcntl
import os
import time

import filelock
import pandas as pd
import pytest

from segsweep.errors import UserError
from segsweep.records import load
from segsweep.records.driver_lock import driver_alive
from segsweep.records.writer import RecordWriter


class Clock:
    """A wall clock that can be set, and a monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.passed = 1_000_000.0, 50.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.passed)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.passed += seconds


def test_a_clock_set_back_changes_neither_durations_nor_order(tmp_path, monkeypatch, start_columns):
    """Trials are ordered by their starts and have their real durations, whatever the wall clock shows."""
    clock = Clock(monkeypatch)
    for life, compacts in enumerate((True, False)):
        with RecordWriter(tmp_path) as writer:
            writer.declare({"schema_version": 2, "name": "s"})
            for name in (f"z{life}", f"a{life}"):
                writer.start("trials", name, start_columns(name))
                clock.wait(5)
                clock.now -= 3600
                clock.wait(2)
                writer.end(name, "finished", {})
                if compacts:
                    writer.compact()
    trials = load(tmp_path).trials
    assert trials["trial_id"].tolist() == ["z0", "a0", "z1", "a1"]
    assert trials["start_number"].tolist() == [1, 2, 3, 4]
    assert (trials["ended_at"] - trials["started_at"]).dt.total_seconds().tolist() == pytest.approx([7.0] * 4)


def test_a_trial_resumed_under_an_earlier_clock_does_not_end_before_its_start(tmp_path, monkeypatch, start_columns):
    """The time between two starts is unknown if the clock was set back; the end is then not before the start."""
    clock = Clock(monkeypatch)
    with RecordWriter(tmp_path) as writer:
        writer.declare({"schema_version": 2, "name": "s"})
        writer.start("trials", "t", start_columns("t"))
        writer.end("t", "interrupted", {})
    clock.now -= 1e5
    with RecordWriter(tmp_path) as writer:
        writer.start("trials", "t", start_columns("t"))
        writer.end("t", "finished", {})
    (trial,) = load(tmp_path).trials.to_dict("records")
    start = pd.Timestamp(1_000_000, unit="s", tz="UTC")
    assert (trial["started_at"], trial["ended_at"], trial["start_number"]) == (start, start, 1)


@pytest.mark.parametrize("call", ["declare", "plan", "end", "choose", "compact"])
def test_a_full_disk_is_one_line_and_the_same_command_continues(tmp_path, begin, write, start_columns, monkeypatch, call):
    """On a full disk each call of a driver raises one line; after space is freed, all ended trials are recorded."""
    writer = begin(tmp_path)
    write(writer, "before")
    writer.start("trials", "t", start_columns("t"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    calls = {
        "declare": lambda: writer.declare({"schema_version": 2, "name": "s"}),
        "plan": lambda: writer.plan([]),
        "end": lambda: writer.end("t", "finished", {}),
        "choose": lambda: writer.choose("c", {"chosen": None, "confirm": []}),
        "compact": writer.compact,
    }
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = rf"^--out: {tmp_path} cannot be written: No space left on device; .* same command again"
        with pytest.raises(UserError, match=message) as caught:
            calls[call]()
    assert "\n" not in str(caught.value)
    writer.__exit__(UserError, caught.value, None)
    with RecordWriter(tmp_path) as again:
        assert again.notices == []
    trials = load(tmp_path).all_trials.set_index("trial_id")
    assert trials.loc["before", "status"] == "finished"


def test_ctrl_c_with_a_full_disk_stays_ctrl_c(tmp_path, begin, write, monkeypatch):
    """If ended trials cannot be moved to a part, Ctrl-C raises no user error; the next start moves them."""
    writer = begin(tmp_path)
    write(writer, "t")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with RecordWriter(tmp_path):
        pass
    assert load(tmp_path).all_trials["status"].tolist() == ["finished"]
    assert not list((tmp_path / "live").iterdir())


def test_readers_block_no_driver(tmp_path, begin, kill, monkeypatch):
    """Readers test whether a driver is alive without its lock; an open reader prevents no driver from starting."""
    kill(begin(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", lambda *_, **__: pytest.fail("a reader takes a lock"))
        assert not driver_alive(tmp_path)
        load(tmp_path)
    with (tmp_path / "driver.json").open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        writer = begin(tmp_path)
        assert driver_alive(tmp_path)
        writer.__exit__(None, None, None)
    assert not driver_alive(tmp_path)
