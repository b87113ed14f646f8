"""Writing records: the driver's side. One driver a study, held by a lock."""

import json
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock, Timeout

from segsweep.errors import UserError
from segsweep.files import replacing, sync
from segsweep.records.lines import Row, append_line, read_lines, read_study, write_whole
from segsweep.records.schema import FINAL, OF_TEST, TABLES
from segsweep.records.tables import Entry, frame, read_entry, rows_of

ENDED_PER_PART = 64  # ended trials that are gathered into one part
LOCK_SECONDS = 2.0


class RecordWriter:
    """The records of one study, open for writing. Use it as a context manager: it holds the study's lock.

    `live/ID.jsonl` holds the lines of what runs or has just ended; `parts/NUMBER/TABLE.parquet` what has ended. A part
    appears by one rename; lines go when their part is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for name in ("live", "parts", "errors"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out: folder {folder} cannot be made: {error.strerror}") from None
        self._lock = FileLock(folder / "driver.lock")
        self._ended: list[str] = []
        self._written: dict[str, set[int]] = {}

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            holder = (self.folder / "driver.json").read_text(encoding="utf-8") if (self.folder / "driver.json").is_file() else "?"
            raise UserError(
                f"study folder {self.folder} is being written by another run ({holder}); wait for it or stop it"
            ) from None
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _begin(self) -> None:
        """Find what an earlier driver left. Nothing is written before it is known to be of this version."""
        if (self.folder / "study.json").is_file():
            read_study(self.folder)
        write_whole(self.folder / "driver.json", json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        write_whole(self.folder / "choices.jsonl", "")
        self._ended = [identity for identity, entry in self.live_entries().items() if entry.status in FINAL]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.compact()
        self._lock.release()

    def live_entries(self) -> dict[str, Entry]:
        """Return what runs or has just ended, by trial or stage id."""
        entries = {path.stem: read_entry(read_lines(path)) for path in sorted((self.folder / "live").glob("*.jsonl"))}
        return {identity: entry for identity, entry in entries.items() if entry is not None}

    def start(self, table: str, identity: str, columns: Mapping[str, Any], again: bool = False) -> None:
        """Record that a trial or a stage starts, or goes on. `again` forgets what it left before."""
        path = self._live(identity)
        if again:
            path.unlink(missing_ok=True)
        entry = read_entry(read_lines(path))
        self._written[identity] = set(entry.epochs) if entry else set()
        self._ended = [ended for ended in self._ended if ended != identity]  # it goes on: no part may take it yet
        append_line(path, {"kind": "start", "table": table, "started_at": time.time(), **columns})

    def epoch(self, identity: str, row: Row) -> None:
        """Record an epoch, unless it is recorded."""
        if row["epoch"] not in self._written[identity]:
            self._written[identity].add(row["epoch"])
            append_line(self._live(identity), {"kind": "epoch", **row})

    def facts(self, identity: str, columns: Mapping[str, Any]) -> None:
        """Record what is known before the first epoch."""
        append_line(self._live(identity), {"kind": "facts", **columns})

    def end(
        self,
        identity: str,
        status: str,
        columns: Mapping[str, Any],
        tables: Mapping[str, Sequence[Row]] = MappingProxyType({}),
    ) -> None:
        """Record how a trial or a stage ended, and the rows of its test by table. Only what is in `FINAL` is moved to a part."""
        for table, rows in tables.items():
            assert table in OF_TEST, table
            if rows:
                append_line(self._live(identity), {"kind": table, "rows": list(rows)})
        append_line(self._live(identity), {"kind": "end", "status": status, "ended_at": time.time(), **columns}, durable=True)
        self._written.pop(identity, None)
        if status in FINAL:
            self._has_ended(identity)

    def _has_ended(self, identity: str) -> None:
        self._ended.append(identity)
        if len(self._ended) >= ENDED_PER_PART:
            self.compact()

    def found(self, identity: str, columns: Mapping[str, Any]) -> None:
        """Record a stage that was in the store already: it is finished, and started as often as here, mostly never."""
        append_line(self._live(identity), {"kind": "found", "table": "stages", "ended_at": time.time(), **columns})
        self._has_ended(identity)

    def trace(self, identity: str, text: str) -> Path:
        """Keep the traceback of a failure and return its file."""
        path = self.folder / "errors" / f"{identity}.txt"
        write_whole(path, text)
        return path

    def plan(self, trials: Sequence[Row]) -> None:
        """Keep the planned trials, from which a reader knows what has not run."""
        with replacing(self.folder / "plan.parquet") as temporary:
            frame("trials", trials).to_parquet(temporary)

    def choose(self, cell: str, columns: Mapping[str, Any]) -> None:
        """Keep which setting a cell has chosen, and the confirmed runs that measure it."""
        append_line(self.folder / "choices.jsonl", {"cell": cell, **columns})

    def declare(self, study: Mapping[str, Any]) -> str:
        """Keep the study as declared, with every start, and return the identity that these records have had from the first."""
        path = self.folder / "study.json"
        earlier = read_study(self.folder) if path.is_file() else {}
        start = {"at": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        identity: str = earlier.get("records_id") or uuid4().hex
        starts = [*earlier.get("starts", []), start]
        write_whole(path, json.dumps({**study, "records_id": identity, "starts": starts}, indent=1))
        return identity

    def compact(self) -> None:
        """Move what has ended from lines into a part."""
        entries = {identity: read_entry(read_lines(self._live(identity))) for identity in self._ended}
        ended = {identity: entry for identity, entry in entries.items() if entry is not None}
        if ended:
            parts = self.folder / "parts"
            number = max((int(path.name) for path in parts.iterdir() if path.name.isdigit()), default=0) + 1
            temporary = parts / f"{number:06d}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            tables = [rows_of(entry) for entry in ended.values()]
            for table in TABLES:
                frame(table, (row for rows in tables for row in rows[table])).to_parquet(temporary / f"{table}.parquet")
            for path in (*temporary.iterdir(), temporary):
                sync(path)
            temporary.rename(parts / f"{number:06d}")
            sync(parts)
        for identity in ended:
            self._live(identity).unlink(missing_ok=True)
        self._ended = []

    def _live(self, identity: str) -> Path:
        return self.folder / "live" / f"{identity}.jsonl"
