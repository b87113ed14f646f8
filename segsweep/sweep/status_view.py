"""The view that keeps a study's status file: what only its driver knows, for `segsweep status` on any machine."""

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

WRITE_SECONDS = 5.0  # how often the file is written
UNCLAIMED_SECONDS = 5.0  # after which a start that prepares data, or waits for machines, is shown before it has its records
CLOSE_SECONDS = 5.0  # for the last writing: a disk that hangs holds nobody up


class StatusView:
    """Writes what the driver knows into the status file, every few seconds, in a thread.

    A disk that is full, slow or gone costs the status, never the study. Nothing is written before the study begins, unless its
    data is prepared or something is waited for: a command that is refused leaves the status as it was. `claimed` is called when
    the folder is this driver's. `end` says how the driver ended, and `close` writes that.
    """

    def __init__(self, folder: Path, claimed: Callable[[], None] = lambda: None, every_seconds: float = WRITE_SECONDS) -> None:
        self._folder, self._claimed, self._every_seconds = folder, claimed, every_seconds
        now = time.time()
        command = shlex.join(sys.orig_argv)
        self._status = DriverStatus(socket.gethostname(), os.getpid(), command, str(Path.cwd()), now, now)
        self._tally: Tally | None = None
        self._busy: dict[str, WorkerInfo] = {}
        self._lock = threading.Lock()  # over what the driver changes and the thread reads
        self._began, self._is_claimed = time.monotonic(), False
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._write_on, name="status", daemon=True)
        self._thread.start()

    # --- What the driver says ---------------------------------------------------------------------------------------------

    def data(self, what: str, done: int, total: int) -> None:
        """Keep how far the preparation of data is."""
        self._set(preparing=f"{what}: {done}/{total}" if done < total else None)

    def begin(self, plan: Plan, earlier: EarlierProgress, seconds_left: float) -> None:
        """Show the study as running: its records are this driver's."""
        with self._lock:
            self._tally = Tally()
            self._tally.begin(plan, earlier, seconds_left)
        self._set(state=RUNNING, preparing=None)
        self._claim()
        self._wake.set()

    def started(self, task: Task) -> None:
        """Keep a task whose worker is not known yet."""
        with self._lock:
            self._busy[task.identity] = WorkerInfo(None, None, task.identity)

    def placed(self, task: Task, worker: WorkerInfo) -> None:
        """Keep the worker that runs a task."""
        with self._lock:
            self._busy[task.identity] = worker

    def epoch(self, task: Task, result: Result) -> None:
        """Keep nothing: the records have every epoch."""

    def ended(self, task: Task, status: str, facts: Mapping[str, Any], cells: Sequence[str]) -> None:
        """Count a task that ended."""
        with self._lock:
            self._busy.pop(task.identity, None)
            if self._tally is not None:
                self._tally.ended(task, status, facts, cells)

    def postponed(self, task: Task, reason: str) -> None:  # noqa: ARG002
        """Forget the worker of a task that is put off."""
        with self._lock:
            self._busy.pop(task.identity, None)

    def skipped(self, task: Task, reason: str, cells: Sequence[str]) -> None:  # noqa: ARG002
        """Count a trial that cannot run."""
        self.ended(task, "skipped", {}, cells)

    def workers(self, count: int, runs_on: str) -> None:
        """Keep how many workers there are, and what they run on."""
        self._set(workers=count, runs_on=runs_on)

    def waiting(self, reason: str | None) -> None:
        """Keep what the study waits for."""
        if reason != self._status.waiting_for:
            self._set(waiting_for=reason)
            self._wake.set()

    def notify(self, text: str) -> None:
        """Keep nothing: the log has every line."""

    def end(self, state: str, reason: str | None = None) -> None:
        """Keep how the driver ended."""
        with self._lock:
            self._busy.clear()
        self._set(state=state, reason=reason, waiting_for=None, preparing=None, seconds_left=None)

    def close(self) -> None:
        """Write the last status; a disk that hangs is waited for some seconds."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    # --- What is written --------------------------------------------------------------------------------------------------

    def _set(self, **values: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **values)

    def _claim(self) -> None:
        if not self._is_claimed:
            self._is_claimed = True
            self._claimed()

    def _write_on(self) -> None:
        """Write the status again and again, until the view is closed; then once more."""
        while not self._closing:
            self._wake.wait(self._every_seconds)
            self._wake.clear()
            self._write_if_ours()
        self._write_if_ours()

    def _write_if_ours(self) -> None:
        """Write the status, unless the folder may be another driver's."""
        with suppress(OSError):
            if not self._is_claimed:
                if not self._has_news or driver_alive(self._folder):
                    return
                self._folder.mkdir(parents=True, exist_ok=True)
                self._claim()
            self._next().write(self._folder)

    @property
    def _has_news(self) -> bool:
        """Whether a start that has not begun its study is worth a look."""
        waits = self._status.preparing is not None or self._status.waiting_for is not None
        return waits and self._status.goes_on and time.monotonic() - self._began >= UNCLAIMED_SECONDS

    def _next(self) -> DriverStatus:
        """Return the status at this moment."""
        with self._lock:
            values: dict[str, Any] = {"busy": tuple(self._busy.values())}
            if self._tally is not None and self._status.goes_on:
                left = self._tally.seconds_left or None  # 0: longer than predicted, and nothing has ended yet
                values |= {"trials_per_hour": self._tally.trials_per_hour, "seconds_left": left}
            at = max(time.time(), self._status.updated_at)
            self._status = replace(self._status, updated_at=at, revision=self._status.revision + 1, **values)
            return self._status
