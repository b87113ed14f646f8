"""Outages: pause a study while the store or its records cannot be written, and resume it afterwards."""

import math
import os
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from segsweep.errors import OutageError
from segsweep.files import write_and_remove
from segsweep.store.faults import Fault, fault_of, gone
from segsweep.store.protocol import Store

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0  # first and longest wait before a retry; the wait doubles each time
FIRST_BYTES, MOST_BYTES = 1 << 20, 1 << 28  # free space required to resume; doubled each time it proved too little
LARGE_PROBES = 7  # after this many probes only FIRST_BYTES are required: the blocked work may need less than the last size
POLL_SECONDS = 0.1
RESUMES = "the study resumes automatically; Ctrl-C ends it, and the same command continues"

PROBE, DRIVER = "", "driver"  # keys of `_tries`, beside the ids of tasks
DECLARED = "study.json"  # a file that the records' folder holds as long as it exists

Returned = TypeVar("Returned")
Wrapped = TypeVar("Wrapped")


class Outage:
    """Pauses the assignment of tasks while writes into the store or the records' folder fail.

    `back_off` begins a pause; `ready` ends it once a probe file can be written durably to both places. The wait between attempts
    doubles, up to a minute, until `progressed` is called. `notify` receives one line at the start and at the end of every pause;
    `waiting` receives the fault, and None at the end. After `limit_seconds` without progress, `ready` raises `OutageError`.
    `check` is called during waits in `retry`, and may raise. `paused_seconds` is the length of all pauses that have ended.
    """

    def __init__(
        self,
        store: Store,
        records: Path,
        notify: Callable[[str], None],
        limit_seconds: float = math.inf,
        waiting: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        if not store.is_reachable():
            store.claim()
        self.check: Callable[[], None] = lambda: None
        self._store, self._records, self._notify, self._limit = store, records, notify, limit_seconds
        self._waiting = waiting
        self.paused_seconds = 0.0
        self._paused_at = 0.0  # monotonic time at which the present pause began
        self._fault: Fault | None = None
        self._reported: set[tuple[str, Fault]] = set()
        self._tries: Counter[str] = Counter()
        self._bytes = FIRST_BYTES
        self._since: float | None = None
        self._probe_at = 0.0
        self._announced = False
        self._ended = False

    def back_off(self, who: str, fault: Fault) -> float:
        """Begin or extend a pause because a fault blocked `who`; return the seconds after which `who` should try again."""
        if fault.is_out_of_space and self._tries[who]:
            self._bytes = min(2 * self._bytes, MOST_BYTES)  # the last probe fitted, but the work needs more space
        now, seconds = time.monotonic(), self._wait(who)
        self._since = now if self._since is None else self._since
        self._probe_at = max(self._probe_at, now + seconds)
        if self._fault is None:
            self._paused_at = now
        another = self._fault is None or _kind(self._fault) != _kind(fault)
        self._fault = fault
        self._waiting(str(fault))
        if another and (who, fault) not in self._reported:
            self._reported.add((who, fault))
            self._announce(f"paused: {fault}; {RESUMES}")
        return seconds

    def _wait(self, who: str) -> float:
        self._tries[who] += 1
        return float(min(FIRST_SECONDS * 2 ** (self._tries[who] - 1), LONGEST_SECONDS))

    def _announce(self, line: str) -> None:
        self._notify(line)
        self._announced = True

    def progressed(self, who: str) -> None:
        """Note that `who` made progress: its next wait is short again, and the time limit restarts."""
        self._since = None
        if self._tries.pop(who, 0):
            self._bytes = FIRST_BYTES
            self._reported = {reported for reported in self._reported if reported[0] != who}

    def ready(self) -> bool:
        """Return whether work can continue. During a pause, probe the disks when the wait is over.

        Raises `OutageError` after `limit_seconds` without progress.
        """
        now = time.monotonic()
        if self._since is not None and now - self._since > self._limit:
            raise OutageError(f"{self._fault or 'no progress'}; nothing is lost: the same command continues")
        if self._fault is None:
            return True
        if now < self._probe_at:
            return False
        if (found := self.fault) is not None:
            self._probe_at = now + self._wait(PROBE)
            if _kind(found) != _kind(self._fault):
                self._announce(f"still paused: {found}")
                self._waiting(str(found))
            self._fault = found
            return False
        if self._announced:
            self._notify("resumed")
        self.paused_seconds += now - self._paused_at
        self._fault, self._announced = None, False
        self._waiting(None)
        del self._tries[PROBE]
        return True

    @property
    def fault(self) -> Fault | None:
        """The fault that currently prevents writing a file to the store or to the records' folder; None if both work."""
        if not self._store.is_reachable():
            return gone(self._store.location)
        if not (self._records / DECLARED).is_file():
            return gone(self._records)
        size = self._bytes if self._tries[PROBE] < LARGE_PROBES else FIRST_BYTES
        try:
            self._store.probe(size)
            write_and_remove(self._records / f"probe.{os.getpid()}.tmp", size)
        except OSError as error:
            return fault_of(error) or Fault(str(error), "fix this error")
        return None

    def require_store(self) -> None:
        """Raise `FileNotFoundError` if the store is gone: an artifact that is not found may then still exist."""
        if not self._store.is_reachable():
            raise FileNotFoundError(f"the store {self._store.location} is gone")

    def retry(self, operation: Callable[[], Returned]) -> Returned:
        """Call an operation, repeat it as a whole during an outage until it succeeds, and return its result."""
        while True:
            try:
                found = operation()
            except Exception as error:
                fault = self._fault_of(error)
                if fault is None or self._ended:
                    raise
                self.back_off(DRIVER, fault)
            else:
                if self._tries[DRIVER]:
                    self.progressed(DRIVER)
                return found
            while not self.ready():
                self.check()
                time.sleep(POLL_SECONDS)

    def _fault_of(self, error: Exception) -> Fault | None:
        lost = isinstance(error, FileNotFoundError) and not (self._records / DECLARED).is_file()
        return gone(self._records) if lost else fault_of(error, self._store, self._records)

    def end(self) -> None:
        """End all waiting: `retry` raises from now on instead of waiting."""
        self._ended = True


def _kind(fault: Fault) -> str:
    return fault.reason.partition(":")[0]


class _Retrying:
    def __init__(self, wrapped: Any, outage: Outage) -> None:
        self._wrapped, self._outage = wrapped, outage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return (lambda *values, **named: self._outage.retry(partial(found, *values, **named))) if callable(found) else found


def retrying(wrapped: Wrapped, outage: Outage) -> Wrapped:
    """Return a proxy of `wrapped` whose methods are retried during an outage until they succeed."""
    return cast(Wrapped, _Retrying(wrapped, outage))
