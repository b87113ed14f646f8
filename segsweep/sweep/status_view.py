"""The view that writes a study's status file: the part of its state that is not in the records, for `segsweep status`."""

import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from segsweep.records.driver_lock import driver_alive
from segsweep.records.driver_status import RUNNING, DriverStatus, WorkerInfo
from segsweep.sweep.plan import Plan
from segsweep.sweep.tally import EarlierProgress, Tally
from segsweep.tasks.messages import Result
from segsweep.tasks.task import Task

WRITE_SECONDS = 5.0  # interval between writes of the file
UNCLAIMED_SECONDS = 5.0  # a start that prepares data or waits for machines longer than this is shown before it opens its records
CLOSE_SECONDS = 5.0  # time limit of the last write, so that a hanging disk does not delay the exit


class StatusView:
    """Writes the driver's state into the status file every few seconds, in a thread.

    If the disk is full, slow or gone, the status is out of date, but the study is not affected. Nothing is written before the
    study begins, unless it prepares data or waits for several seconds: a command that is refused leaves the status unchanged.
    `claimed` is called when this driver owns the folder. `end` sets how the driver ended, and `close` writes it.
    """

    def __init__(self, folder: Path, claimed: Callable[[], None] = lambda: None, every_seconds: float = WRITE_SECONDS) -> None:
        self._folder, self._claimed, self._every_seconds = folder, claimed, every_seconds
        now = time.time()
        command = shlex.join(sys.orig_argv)
        self._status = DriverStatus(socket.gethostname(), os.getpid(), command, str(Path.cwd()), now, now)
        self._tally: Tally | None = None
        self._busy: dict[str, WorkerInfo] = {}
        self._lock = threading.Lock()  # guards the state that the driver changes and the thread reads
        self._began, self._is_claimed = time.monotonic(), False
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._write_on, name="status", daemon=True)
        self._thread.start()

    # --- Events of the driver ---------------------------------------------------------------------------------------------

    def data(self, what: str, done: int, total: int) -> None:
        """Store the progress of preparing data."""
        self._set(preparing=f"{what}: {done}/{total}" if done < total else None)

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Set the state to running: this driver owns the records."""
        with self._lock:
            self._tally = Tally()
            self._tally.begin(plan, earlier, seconds_left)
        self._set(state=RUNNING, preparing=None)
        self._claim()
        self._wake.set()

    def started(self, task: Task) -> None:
        """Store a started task whose worker is not known yet."""
        with self._lock:
            self._busy[task.identity] = WorkerInfo(None, None, task.identity)

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Store the worker that runs a task."""
        with self._lock:
            self._busy[task.identity] = worker

    def epoch(self, task: Task, result: Result) -> None:
        """Store nothing: the records have every epoch."""

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count a task that ended."""
        with self._lock:
            self._busy.pop(task.identity, None)
            if self._tally is not None:
                self._tally.ended(task, status, facts, cells)

    def postponed(self, task: Task, reason: str) -> None:  # noqa: ARG002
        """Remove the worker of a postponed task."""
        with self._lock:
            self._busy.pop(task.identity, None)

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:  # noqa: ARG002
        """Count a trial that cannot run."""
        self.ended(task, "skipped", {}, cells)

    def workers(self, count: int, runs_on: str) -> None:
        """Store the number of workers and the hardware that they run on."""
        self._set(workers=count, runs_on=runs_on)

    def waiting(self, reason: str | None) -> None:
        """Store what the study waits for."""
        if reason != self._status.waiting_for:
            self._set(waiting_for=reason)
            self._wake.set()

    def notify(self, text: str) -> None:
        """Store nothing: the log has every line."""

    def end(self, state: str, reason: str | None = None) -> None:
        """Store how the driver ended."""
        with self._lock:
            self._busy.clear()
        self._set(state=state, reason=reason, waiting_for=None, preparing=None, seconds_left=None)

    def close(self) -> None:
        """Write the last status. If the disk hangs, give up after `CLOSE_SECONDS`."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    # --- Writing the file -------------------------------------------------------------------------------------------------

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **values)

    def _claim(self) -> None:
        if not self._is_claimed:
            self._is_claimed = True
            self._claimed()

    def _write_on(self) -> None:
        """Write the status periodically until the view is closed, then once more."""
        while not self._closing:
            self._wake.wait(self._every_seconds)
            self._wake.clear()
            self._write_if_ours()
        self._write_if_ours()

    def _write_if_ours(self) -> None:
        """Write the status, unless another driver may own the folder."""
        with suppress(OSError):
            if not self._is_claimed:
                if not self._has_news or driver_alive(self._folder):
                    return
                self._folder.mkdir(parents=True, exist_ok=True)
                self._claim()
            self._next().write(self._folder)

    @property
    def _has_news(self) -> bool:
        """Whether a start that has not begun its study has waited long enough to be shown."""
        waits = self._status.preparing is not None or self._status.waiting_for is not None
        return waits and self._status.goes_on and time.monotonic() - self._began >= UNCLAIMED_SECONDS

    def _next(self) -> DriverStatus:
        """Update the status to the current time and return it."""
        with self._lock:
            values: dict[str, Any] = {"busy": tuple(self._busy.values())}
            if self._tally is not None and self._status.goes_on:
                left = self._tally.seconds_left or None  # 0 means unknown: over the predicted time, and no task has ended yet
                values |= {"trials_per_hour": self._tally.trials_per_hour, "seconds_left": left}
            at = max(time.time(), self._status.updated_at)
            self._status = replace(self._status, updated_at=at, revision=self._status.revision + 1, **values)
            return self._status
