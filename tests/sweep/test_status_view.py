"""The status file: the driver's state, in the study's folder, without an effect on the study."""

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from studies import nothing_built, plan_of, small_study

from segsweep.config import Target
from segsweep.errors import OutageError
from segsweep.records import driver_status
from segsweep.records.driver_status import ENDED, FINISHED, RUNNING, STARTING, DriverStatus, WorkerInfo, read_driver_status
from segsweep.records.writer import RecordWriter
from segsweep.report.status import read_status
from segsweep.store.protocol import Store
from segsweep.sweep import runners, status_view
from segsweep.sweep.options import Options
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import View
from segsweep.sweep.run import run
from segsweep.sweep.runners import Runner
from segsweep.sweep.status_view import StatusView
from segsweep.sweep.tally import EarlierProgress

PLAN = plan_of(small_study(compare={"source": ["random"]}))


@pytest.fixture
def view(tmp_path: Path) -> Iterator[StatusView]:
    """A view that writes every 20 ms."""
    opened = StatusView(tmp_path, every_seconds=0.02)
    yield opened
    opened.close()


def seen(folder: Path, wanted: Callable[[DriverStatus], bool], seconds: float = 5.0) -> DriverStatus:
    """Return the first status that fulfils a condition."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if (status := read_driver_status(folder)) is not None and wanted(status):
            return status
        time.sleep(0.01)
    raise AssertionError(f"no such status, at last {read_driver_status(folder)}")


def test_it_shows_the_driver_state_that_records_lack(tmp_path: Path, view: StatusView) -> None:
    """Workers and their tasks, the reason for waiting, pace, time left; a task that has ended or is postponed has no worker."""
    planner = Planner(PLAN, nothing_built)
    one, other = (planner.next().task for _ in range(2))  # type: ignore[union-attr]
    view.begin(PLAN, EarlierProgress(), 600.0)
    view.workers(2, "2 workers of cpu x1")
    for task in (one, other):
        view.started(task)
    assert {worker.machine for worker in seen(tmp_path, lambda status: len(status.busy) == 2).busy} == {None}
    for task, machine in ((one, "n1"), (other, "n2")):
        view.placed(task, WorkerInfo(machine, "cpu x1", task.identity))
    view.waiting("No space left on device: /data; free some space there")
    status = seen(tmp_path, lambda status: status.waiting_for is not None)
    assert (status.state, status.workers, status.runs_on) == (RUNNING, 2, "2 workers of cpu x1")
    assert {worker.task: worker.machine for worker in status.busy} == {one.identity: "n1", other.identity: "n2"}
    assert status.trials_per_hour is None
    assert 590 < status.seconds_left <= 600
    view.ended(one, "finished", {"val_iou": 0.5}, ["cell"])
    view.postponed(other, "its worker died")
    view.waiting(None)
    status = seen(tmp_path, lambda status: not status.busy and status.waiting_for is None)
    assert status.trials_per_hour > 0
    view.end(FINISHED)
    view.close()
    last = read_driver_status(tmp_path)
    assert (last.state, last.seconds_left, last.revision > status.revision) == (FINISHED, None, True)


def test_it_is_written_periodically_without_events(tmp_path: Path, view: StatusView) -> None:
    """A long epoch can be distinguished from a driver that is gone."""
    view.begin(PLAN, EarlierProgress(), 600.0)
    first = seen(tmp_path, lambda status: status.state == RUNNING)
    assert seen(tmp_path, lambda status: status.revision > first.revision + 2).updated_at > first.updated_at


def test_a_rejected_command_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a study begins nothing is written, unless it prepares data or waits for machines for several seconds."""
    monkeypatch.setattr(status_view, "UNCLAIMED_SECONDS", 0.0)
    refused = StatusView(tmp_path / "refused", every_seconds=0.01)
    time.sleep(0.05)
    refused.end(ENDED, "--data: no such folder")
    refused.close()
    assert not (tmp_path / "refused").exists()
    claimed = threading.Event()
    waits = StatusView(tmp_path / "waits", claimed.set, every_seconds=0.01)
    waits.waiting("a machine with 1 GPU")
    assert seen(tmp_path / "waits", lambda status: status.waiting_for == "a machine with 1 GPU").state == STARTING
    assert claimed.is_set()
    waits.close()


def test_the_status_of_another_driver_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second command, which will be rejected, writes nothing while a driver holds the study."""
    monkeypatch.setattr(status_view, "UNCLAIMED_SECONDS", 0.0)
    with RecordWriter(tmp_path):
        second = StatusView(tmp_path, every_seconds=0.01)
        second.data("preparing pets", 1, 9)
        time.sleep(0.1)
        second.close()
    assert read_driver_status(tmp_path) is None


def test_a_failing_or_hanging_disk_does_not_affect_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk raises nothing, and a hanging one delays neither the driver's calls nor, for long, its end."""
    hang, written = threading.Event(), threading.Event()

    def write(status: DriverStatus, folder: Path) -> None:  # noqa: ARG001
        written.set()
        hang.wait(10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DriverStatus, "write", write)
    monkeypatch.setattr(status_view, "CLOSE_SECONDS", 0.1)
    view = StatusView(tmp_path, every_seconds=0.01)
    view.begin(PLAN, EarlierProgress(), 1.0)
    assert written.wait(5)
    began = time.monotonic()
    view.workers(3, "3 workers")
    view.end(FINISHED)
    view.close()
    assert time.monotonic() - began < 1.0
    hang.set()
    view._thread.join(5)
    assert not view._thread.is_alive()


def test_the_status_reports_that_its_own_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no new file fits, the existing status is overwritten in place; a shorter one leaves no remainder of it."""
    status = DriverStatus("n1", 7, "python a.py", "/", 1.0, 2.0)
    replace(status, reason="x" * 100).write(tmp_path)

    def full(path: Path, durable: bool) -> NoReturn:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(driver_status, "replacing", full)
    replace(status, waiting_for="No space left on device").write(tmp_path)
    assert read_driver_status(tmp_path) == replace(status, waiting_for="No space left on device")


def test_a_file_that_cannot_be_read_is_no_status(tmp_path: Path) -> None:
    """A truncated file, a different file, or one with fields of a later version does not break a reader."""
    status = DriverStatus("n1", 7, "python a.py", "/", 1.0, 2.0, busy=(WorkerInfo("n1", "cpu x1", "t"),))
    status.write(tmp_path)
    assert read_driver_status(tmp_path) == status
    file = tmp_path / "status.json"
    whole = file.read_bytes()
    for broken in (b"", whole[:-40], b"[1]", b"{}", whole.replace(b'"n1"', b'"n2"', 1)):
        file.write_bytes(broken)
        assert read_driver_status(tmp_path) is None
    row = {
        "kind": "status",
        "host": "n1",
        "pid": 7,
        "command": "c",
        "folder": "/",
        "started_at": 1.0,
        "updated_at": 2.0,
        "new": 1,
    }
    file.write_text(json.dumps(row, indent=1))
    assert read_driver_status(tmp_path) == DriverStatus("n1", 7, "c", "/", 1.0, 2.0)


def test_an_unknown_time_left_is_not_shown(tmp_path: Path, view: StatusView) -> None:
    """If the predicted time is over and nothing has ended, no end is expected, rather than now."""
    view.begin(PLAN, EarlierProgress(), 0.0)
    assert seen(tmp_path, lambda status: status.state == RUNNING).seconds_left is None


def test_a_run_that_waits_for_machines_is_seen_before_it_has_records(
    tmp_path: Path, ellipses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status shows what it waits for, and at the end that no machine joined; the log has its lines."""
    statuses = []

    @contextmanager
    def nothing_comes(options: Options, at_most: int, store: Store, view: View) -> Iterator[Runner]:  # noqa: ARG001
        view.waiting("a machine with 1 GPU")
        view.notify("waiting for a machine with 1 GPU")
        statuses.append(seen(tmp_path / "runs" / "small", lambda status: status.waiting_for is not None, 20.0))
        raise OutageError("no machine joined")
        yield

    monkeypatch.setattr(status_view, "UNCLAIMED_SECONDS", 0.0)
    monkeypatch.setitem(runners.RUNNERS, "inline", nothing_comes)  # type: ignore[arg-type]
    study = small_study(target=Target(f"folder:{ellipses}", protocol="70-10-20"), compare={"source": ["random"]})
    with pytest.raises(OutageError):
        run(study, out=tmp_path / "runs", runner="inline")
    (status,) = statuses
    assert (status.state, status.waiting_for) == (STARTING, "a machine with 1 GPU")
    last = read_status(tmp_path / "runs" / "small")
    assert (last.state, last.driver.reason, last.trials.planned) == (ENDED, "no machine joined", 0)
    log = [line[20:] for line in (tmp_path / "runs" / "small" / "log.txt").read_text().splitlines()]
    assert log[1:] == ["waiting for a machine with 1 GPU", "ended: no machine joined"]
