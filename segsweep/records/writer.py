"""The driver's side of records: one driver per study, enforced by a lock."""

import functools
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import uuid4

from filelock import FileLock, Timeout

from segsweep.errors import UserError, disk_errors
from segsweep.files import replacing, sync
from segsweep.records.checked import crc32
from segsweep.records.damage import INDEX, STUDY
from segsweep.records.driver_lock import acquire_driver_lock, driver_details
from segsweep.records.lines import Row, append_line, declared, read_study, replace_text, write_object
from segsweep.records.mend import begin_index, mend, next_number
from segsweep.records.parts import Index, forget_choices, list_part, read_index, write_part
from segsweep.records.plan_status import CHOICES, PLAN, SCORE, STAGE
from segsweep.records.schema import FINAL, OF_TEST, TABLES
from segsweep.records.tables import Entry, frame, read_live, rows_of

ENDED_PER_PART = 64  # number of ended trials in one part
LOCK_SECONDS = 2.0
AGAIN = "make room or mend it, and run the same command again: it continues"

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")
Method = Callable[Concatenate["RecordWriter", Arguments], Returned]


@dataclass(frozen=True)
class Moment:
    """A moment by the wall clock (seconds since 1970), and by the monotonic clock, which cannot be set back."""

    at: float
    passed: float

    @classmethod
    def now(cls) -> "Moment":
        """Return the present moment."""
        return cls(time.time(), time.monotonic())

    def later(self) -> float:
        """Return the present wall-clock time, ignoring changes of the wall clock since this moment."""
        return self.at + time.monotonic() - self.passed


def _report_disk_errors(method: "Method[Arguments, Returned]") -> "Method[Arguments, Returned]":
    """Wrap a method to raise `UserError` on a full or failing disk, after which the same command continues."""

    @functools.wraps(method)
    def wrapper(self: "RecordWriter", /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Returned:
        with disk_errors("--out", self.folder, AGAIN):
            return method(self, *arguments, **named)

    return wrapper


class RecordWriter:
    """The records of one study, open for writing. As a context manager it holds the study's lock.

    `live/ID.jsonl` contains the lines of a task that runs or has just ended; `parts/NUMBER/TABLE.parquet` contains tasks that
    have ended. A part appears by one rename and is then listed in the index; the lines are removed afterwards. `notices` has a
    line for each file that was damaged at the start, and set aside. Every method raises `UserError` on a full or failing disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: list[str] = []
        try:
            for name in ("live", "parts", "errors"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out: folder {folder} cannot be created: {error.strerror}") from None
        self._lock = FileLock(folder / "driver.lock")
        self._driver_lock: int | None = None
        self._ended: list[str] = []
        self._written: dict[str, set[int]] = {}
        self._begun: dict[str, Moment] = {}
        self._index = Index()
        self._choices_are_old = True
        self._choices = 0  # number of lines that this driver has added
        self._starts = 0  # number of the last start of a trial or stage

    @_report_disk_errors
    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise in_use(self.folder) from None
        try:
            self._begin()
        except BaseException:
            self._release()
            raise
        return self

    def _begin(self) -> None:
        """Read the state that an earlier driver left. Nothing is written before the records are known to be of this version."""
        self._index, self.notices = mend(self.folder)
        self._driver_lock = acquire_driver_lock(self.folder)
        live = self.live_entries()
        self._ended = [identity for identity, entry in live.items() if entry.status in FINAL]
        starts = (part.last_start for part in self._index.parts.values())
        self._starts = max((*starts, *(entry.row.get("start_number") or 0 for entry in live.values())), default=0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.compact()
            elif issubclass(kind, KeyboardInterrupt):
                with suppress(UserError):  # Ctrl-C stays Ctrl-C on a full disk; the next start compacts
                    self.compact()
        finally:
            self._release()

    def _release(self) -> None:
        """Release the study's locks for the next driver."""
        if self._driver_lock is not None:
            os.close(self._driver_lock)
            self._driver_lock = None
        self._lock.release()

    def live_entries(self) -> dict[str, Entry]:
        """Return the content of all live lines, by trial or stage id."""
        entries = {path.stem: read_live(path) for path in sorted((self.folder / "live").glob("*.jsonl"))}
        return {identity: entry for identity, entry in entries.items() if entry is not None}

    @_report_disk_errors
    def start(
        self, table: str, identity: str, columns: Mapping[str, Any], again: bool = False, begun: Moment | None = None
    ) -> None:
        """Record that a trial or stage starts or resumes at `begun` (default: now). With `again`, delete its earlier lines."""
        path, self._begun[identity] = self._live(identity), begun or Moment.now()
        if again:
            path.unlink(missing_ok=True)
        entry = read_live(path)
        self._written[identity] = set(entry.epochs) if entry else set()
        self._ended = [ended for ended in self._ended if ended != identity]  # it resumes, so no part may contain it yet
        when = {"started_at": self._begun[identity].at, "start_number": self._next_start()}
        append_line(path, {"kind": "start", "table": table, **when, **columns})

    def _next_start(self) -> int:
        """Return the number of the next start, which orders starts independently of the clock."""
        self._starts += 1
        return self._starts

    @_report_disk_errors
    def epoch(self, identity: str, row: Mapping[str, Any]) -> None:
        """Record an epoch, unless it is already recorded."""
        if row["epoch"] not in self._written[identity]:
            append_line(self._live(identity), {"kind": "epoch", **row})
            self._written[identity].add(row["epoch"])

    @_report_disk_errors
    def facts(self, identity: str, columns: Mapping[str, Any]) -> None:
        """Record columns that are known before the first epoch."""
        append_line(self._live(identity), {"kind": "facts", **columns})

    @_report_disk_errors
    def end(
        self,
        identity: str,
        status: str,
        columns: Mapping[str, Any],
        tables: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType({}),
    ) -> None:
        """Record the end of a trial or stage, and the rows of its test by table. A task with a status in `FINAL` joins a part."""
        for table, rows in tables.items():
            assert table in OF_TEST, table
            if rows:
                append_line(self._live(identity), {"kind": table, "rows": list(rows)})
        ended_at = self._begun.get(identity, Moment.now()).later()
        append_line(self._live(identity), {"kind": "end", "status": status, "ended_at": ended_at, **columns}, durable=True)
        sync(self.folder / "live")
        self._begun.pop(identity, None)
        self._written.pop(identity, None)
        if status in FINAL:
            self._has_ended(identity)

    def _has_ended(self, identity: str) -> None:
        self._ended.append(identity)
        if len(self._ended) >= ENDED_PER_PART:
            self.compact()

    @_report_disk_errors
    def found(self, table: str, identity: str, columns: Mapping[str, Any]) -> None:
        """Record a task whose artifact was already in the store, as finished. Its number of starts does not change."""
        when = {"ended_at": time.time(), "start_number": self._next_start()}
        append_line(self._live(identity), {"kind": "found", "table": table, **when, **columns})
        self._has_ended(identity)

    @_report_disk_errors
    def trace(self, identity: str, text: str) -> Path:
        """Write the traceback of a failure, and return the file's path."""
        path = self.folder / "errors" / f"{identity}.txt"
        replace_text(path, text)
        return path

    @_report_disk_errors
    def plan(self, trials: Sequence[Row], stages: Sequence[str] = (), scores: Sequence[str] = ()) -> None:
        """Write the planned trials and the ids of their stages and scores, which from now on define the study for readers."""
        rows = [*trials, *({"phase": STAGE, "stage_id": stage} for stage in stages)]
        rows += [{"phase": SCORE, "score_id": score} for score in scores]
        with replacing(self.folder / PLAN) as temporary:
            frame("trials", rows).to_parquet(temporary)
            listed = {"kind": "plan", "sum": crc32(temporary.read_bytes())}
            append_line(self.folder / INDEX, listed, durable=True)  # first: an existing plan is always listed
        append_line(self.folder / INDEX, {"kind": "planned"}, durable=True)
        if self._choices_are_old:  # every start chooses again
            forget_choices(self.folder, read_index(self.folder))
            self._choices_are_old, self._choices = False, 0

    @_report_disk_errors
    def choose(self, cell: str, columns: Mapping[str, Any]) -> None:
        """Record the setting that a cell has chosen, and the confirmed runs that measure it."""
        append_line(self.folder / CHOICES, {"cell": cell, **columns}, durable=True)
        self._choices += 1
        append_line(self.folder / INDEX, {"kind": "choices", "count": self._choices}, durable=True)

    @_report_disk_errors
    def declare(self, study: Mapping[str, Any], facts: Mapping[str, Any] = MappingProxyType({})) -> str:
        """Write the declaration of the study with all its starts, and return the permanent identity of these records.

        `facts` describe this start, beside its time, host and process.
        """
        earlier = read_study(self.folder) if declared(self.folder) else {}
        start = {"at": time.time(), "host": socket.gethostname(), "pid": os.getpid(), **facts}
        identity: str = earlier.get("records_id") or self._index.study.get("records_id") or uuid4().hex
        begin_index(self.folder, {**study, "records_id": identity})
        write_object(self.folder / STUDY, {**study, "records_id": identity, "starts": [*earlier.get("starts", []), start]})
        return identity

    @_report_disk_errors
    def add_to_start(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the present start of the study, or replace them; `declare` precedes."""
        study = read_study(self.folder)
        *earlier, present = study["starts"]
        write_object(self.folder / STUDY, {**study, "starts": [*earlier, {**present, **facts}]})

    @_report_disk_errors
    def compact(self) -> None:
        """Move tasks that have ended from lines to a part."""
        entries = {identity: read_live(self._live(identity)) for identity in self._ended}
        ended = {identity: entry for identity, entry in entries.items() if entry is not None}
        if ended:
            rows = [rows_of(entry) for entry in ended.values()]
            tables = {table: frame(table, (row for each in rows for row in each[table])) for table in TABLES}
            part = write_part(self.folder, next_number(self.folder, self._index), tables)
            list_part(self.folder, part)
        for identity in ended:
            self._live(identity).unlink(missing_ok=True)
        self._ended = []

    def _live(self, identity: str) -> Path:
        return self.folder / "live" / f"{identity}.jsonl"


def in_use(folder: Path) -> UserError:
    """Return the error for a study that another process is running, with the host and pid of that process."""
    return UserError(f"study folder {folder} is being written by another run ({driver_details(folder)}); wait for it or stop it")
