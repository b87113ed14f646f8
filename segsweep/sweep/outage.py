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
from segsweep.store.protocol import Store
from segsweep.store.trouble import Trouble, gone, trouble_of

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0  # how long to wait before trying again; twice as long each time
FIRST_BYTES, MOST_BYTES = 1 << 20, 1 << 28  # what must fit on the disks; twice as much where that was too little
LOOKS_AT_MUCH = 7  # after which work is tried again also where only the first size fits: it may need less than the last
POLL_SECONDS = 0.1
BY_ITSELF = "the study goes on by itself; Ctrl-C ends it, and the same command continues"

LOOKS, DRIVER = "", "driver"  # beside the identities of work
DECLARED = "study.json"  # what the records' folder holds as long as it is there

Returned = TypeVar("Returned")
Thing = TypeVar("Thing")


class Outage:
    """Knows whether work can be handed out: not while a write into the store or the records' folder fails.

    `hindered` begins a pause, `ready` ends it once a file of some size can be written durably. The wait doubles while nothing
    comes of what is tried again, up to a minute; `progressed` says that something did. `notify` gets one line for every pause
    and its end. After `limit_seconds` without progress it raises `OutageError`. `check` is called while it waits, and may raise.
    """

    def __init__(self, store: Store, records: Path, notify: Callable[[str], None], limit_seconds: float = math.inf) -> None:
        if not store.is_reachable():
            store.claim()
        self.check: Callable[[], None] = lambda: None
        self._store, self._records, self._notify, self._limit = store, records, notify, limit_seconds
        self._trouble: Trouble | None = None
        self._told: set[tuple[str, Trouble]] = set()
        self._tries: Counter[str] = Counter()
        self._bytes = FIRST_BYTES
        self._since: float | None = None
        self._look_at = 0.0
        self._said = False
        self._ended = False

    def hindered(self, who: str, trouble: Trouble) -> float:
        """Take that the environment kept `who` from going on, and return after how many seconds that should be tried again."""
        if trouble.of_space and self._tries[who]:
            self._bytes = min(2 * self._bytes, MOST_BYTES)  # there was room for so little, and not for what is needed
        now, seconds = time.monotonic(), self._wait(who)
        self._since = now if self._since is None else self._since
        self._look_at = max(self._look_at, now + seconds)
        another = self._trouble is None or _kind(self._trouble) != _kind(trouble)
        self._trouble = trouble
        if another and (who, trouble) not in self._told:
            self._told.add((who, trouble))
            self._say(f"paused: {trouble}; {BY_ITSELF}")
        return seconds

    def _wait(self, who: str) -> float:
        self._tries[who] += 1
        return float(min(FIRST_SECONDS * 2 ** (self._tries[who] - 1), LONGEST_SECONDS))

    def _say(self, line: str) -> None:
        self._notify(line)
        self._said = True

    def progressed(self, who: str) -> None:
        """Take that something came of work: waits are short again."""
        self._since = None
        if self._tries.pop(who, 0):
            self._bytes = FIRST_BYTES
            self._told = {told for told in self._told if told[0] != who}

    def ready(self) -> bool:
        """Return whether work can go on; during a pause it looks, when it is time. Raises `OutageError` after the limit."""
        now = time.monotonic()
        if self._since is not None and now - self._since > self._limit:
            raise OutageError(f"{self._trouble or 'no progress'}; nothing is lost: the same command continues")
        if self._trouble is None:
            return True
        if now < self._look_at:
            return False
        if (found := self.trouble) is not None:
            self._look_at = now + self._wait(LOOKS)
            if _kind(found) != _kind(self._trouble):
                self._say(f"still paused: {found}")
            self._trouble = found
            return False
        if self._said:
            self._notify("goes on")
        self._trouble, self._said = None, False
        del self._tries[LOOKS]
        return True

    @property
    def trouble(self) -> Trouble | None:
        """What keeps a file from being written where artifacts are made, or where records lie, right now."""
        if not self._store.is_reachable():
            return gone(self._store.location)
        if not (self._records / DECLARED).is_file():
            return gone(self._records)
        size = self._bytes if self._tries[LOOKS] < LOOKS_AT_MUCH else FIRST_BYTES
        try:
            self._store.probe(size)
            write_and_remove(self._records / f"probe.{os.getpid()}.tmp", size)
        except OSError as error:
            return trouble_of(error) or Trouble(str(error), "see to that")
        return None

    def assert_there(self) -> None:
        """Raise `FileNotFoundError` where the store is gone, so that what is not found there may only be out of reach."""
        if not self._store.is_reachable():
            raise FileNotFoundError(f"the store {self._store.location} is gone")

    def insist(self, operation: Callable[[], Returned]) -> Returned:
        """Return what an operation returns, once the environment lets it; it is tried again as a whole."""
        while True:
            try:
                found = operation()
            except Exception as error:
                trouble = self._trouble_of(error)
                if trouble is None or self._ended:
                    raise
                self.hindered(DRIVER, trouble)
            else:
                if self._tries[DRIVER]:
                    self.progressed(DRIVER)
                return found
            while not self.ready():
                self.check()
                time.sleep(POLL_SECONDS)

    def _trouble_of(self, error: Exception) -> Trouble | None:
        lost = isinstance(error, FileNotFoundError) and not (self._records / DECLARED).is_file()
        return gone(self._records) if lost else trouble_of(error, self._store, self._records)

    def end(self) -> None:
        """Wait for nothing any more."""
        self._ended = True


def _kind(trouble: Trouble) -> str:
    return trouble.reason.partition(":")[0]


class _Insisting:
    def __init__(self, thing: Any, outage: Outage) -> None:
        self._thing, self._outage = thing, outage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        return (lambda *values, **named: self._outage.insist(partial(found, *values, **named))) if callable(found) else found


def insisting(thing: Thing, outage: Outage) -> Thing:
    """Return a thing whose methods wait until the environment lets them, and do then what they do."""
    return cast(Thing, _Insisting(thing, outage))
