"""Waiting while the environment keeps work from going on, and going on when it can."""

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

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0  # how long to wait before trying again; twice as long each time
FIRST_BYTES, MOST_BYTES = 1 << 20, 1 << 28  # what must fit on the disks; twice as much where that was too little
LARGE_PROBES = 7  # after which work is tried again also where only the first size fits: it may need less than the last
POLL_SECONDS = 0.1
BY_ITSELF = "the study goes on by itself; Ctrl-C ends it, and the same command continues"

PROBE, DRIVER = "", "driver"  # beside the identities of work
DECLARED = "study.json"  # what the records' folder holds as long as it is there

Returned = TypeVar("Returned")
Wrapped = TypeVar("Wrapped")


class Outage:
    """Knows whether work can be handed out: not while a write into the store or the records' folder fails.

    `back_off` begins a pause, `ready` ends it once a file of some size can be written durably. The wait doubles while nothing
    comes of what is tried again, up to a minute; `progressed` says that something did. `notify` gets one line for every pause
    and its end; `waiting` gets the fault that it waits for, and None at the end of the pause. After `limit_seconds` without
    progress it raises `OutageError`. `check` is called while it waits, and may raise.
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
        self._fault: Fault | None = None
        self._reported: set[tuple[str, Fault]] = set()
        self._tries: Counter[str] = Counter()
        self._bytes = FIRST_BYTES
        self._since: float | None = None
        self._probe_at = 0.0
        self._announced = False
        self._ended = False

    def back_off(self, who: str, fault: Fault) -> float:
        """Take that the environment kept `who` from going on, and return after how many seconds that should be tried again."""
        if fault.is_out_of_space and self._tries[who]:
            self._bytes = min(2 * self._bytes, MOST_BYTES)  # there was room for so little, and not for what is needed
        now, seconds = time.monotonic(), self._wait(who)
        self._since = now if self._since is None else self._since
        self._probe_at = max(self._probe_at, now + seconds)
        another = self._fault is None or _kind(self._fault) != _kind(fault)
        self._fault = fault
        self._waiting(str(fault))
        if another and (who, fault) not in self._reported:
            self._reported.add((who, fault))
            self._announce(f"paused: {fault}; {BY_ITSELF}")
        return seconds

    def _wait(self, who: str) -> float:
        self._tries[who] += 1
        return float(min(FIRST_SECONDS * 2 ** (self._tries[who] - 1), LONGEST_SECONDS))

    def _announce(self, line: str) -> None:
        self._notify(line)
        self._announced = True

    def progressed(self, who: str) -> None:
        """Take that something came of work: waits are short again."""
        self._since = None
        if self._tries.pop(who, 0):
            self._bytes = FIRST_BYTES
            self._reported = {reported for reported in self._reported if reported[0] != who}

    def ready(self) -> bool:
        """Return whether work can go on; during a pause it looks, when it is time. Raises `OutageError` after the limit."""
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
            self._notify("goes on")
        self._fault, self._announced = None, False
        self._waiting(None)
        del self._tries[PROBE]
        return True

    @property
    def fault(self) -> Fault | None:
        """What keeps a file from being written where artifacts are made, or where records lie, right now."""
        if not self._store.is_reachable():
            return gone(self._store.location)
        if not (self._records / DECLARED).is_file():
            return gone(self._records)
        size = self._bytes if self._tries[PROBE] < LARGE_PROBES else FIRST_BYTES
        try:
            self._store.probe(size)
            write_and_remove(self._records / f"probe.{os.getpid()}.tmp", size)
        except OSError as error:
            return fault_of(error) or Fault(str(error), "see to that")
        return None

    def require_store(self) -> None:
        """Raise `FileNotFoundError` where the store is gone, so that what is not found there may only be out of reach."""
        if not self._store.is_reachable():
            raise FileNotFoundError(f"the store {self._store.location} is gone")

    def retry(self, operation: Callable[[], Returned]) -> Returned:
        """Return what an operation returns, once the environment lets it; it is tried again as a whole."""
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
        """Wait for nothing any more."""
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
    """Return a thing whose methods wait until the environment lets them, and do then what they do."""
    return cast(Wrapped, _Retrying(wrapped, outage))
