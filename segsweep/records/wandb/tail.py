"""Follow records while they are written: find those that are new or changed since the last look."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.lines import Row
from segsweep.records.parts import Part, part_from_files, parts_of, read_index
from segsweep.records.schema import FINAL, needed_first, task_tables
from segsweep.records.tables import frame, read_live
from segsweep.tasks.kind import RecordedArtifact, RecordTable

WHOSE = ("study", "trial_id", "phase")  # columns that identify an epoch's task


@dataclass(frozen=True)
class Item:
    """The present record of a task. Its row and epochs contain plain values, without empty ones."""

    table: RecordTable
    identity: str
    row: Row
    epochs: tuple[Row, ...]

    @property
    def rank(self) -> int:
        """The position among items that are sent together: sources before the tasks that start from them."""
        return needed_first().index(self.table)

    @property
    def source(self) -> str | None:
        """The id of the record from which the task started."""
        return self.row.get(self.table.source) if self.table.source is not None else None

    @property
    def made(self) -> RecordedArtifact | None:
        """The reference to the task's artifact; None if it has none."""
        named = self.table.artifact
        return named if named is not None and self.row["status"] == "finished" and named.made(self.row) else None

    @property
    def ended(self) -> bool:
        """Whether the task has ended, so that its row will not change."""
        return self.row["status"] in FINAL


class RecordTail:
    """Reads what has changed in a study's folder: each part once, live lines again after they have grown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._newest: dict[str, str] = {}  # record id -> last part that contains it
        self._seen: set[str] = set()
        self._stamps: dict[str, tuple[int, int]] = {}  # size and modification time of the live files read so far

    def look(self) -> Iterator[Item]:
        """Yield the newest state of every record that changed since the last look, stages before trials."""
        parts = [part for part in parts_of(self.folder, read_index(self.folder)) if part.name not in self._seen]
        for part in parts:
            self._newest |= dict.fromkeys(
                part.ids or part_from_files(part.folder).ids, part.name
            )  # earlier versions listed no ids
        for part in parts:
            self._seen.add(part.name)
            if not part.is_damaged:
                yield from (item for item in _items_of(part) if self._newest[item.identity] == part.name)
        yield from self._live()

    def _live(self) -> Iterator[Item]:
        """Yield the records whose live files have grown."""
        paths = {path.stem: path for path in sorted((self.folder / "live").glob("*.jsonl"))}
        found = []
        for identity, path in paths.items():
            try:
                stamp = (path.stat().st_size, path.stat().st_mtime_ns)
            except FileNotFoundError:  # it has become a part
                continue
            if stamp != self._stamps.get(identity) and (entry := read_live(path)) is not None:
                self._stamps[identity] = stamp
                epochs = frame("epochs", [epoch for _, epoch in sorted(entry.epochs.items())])
                (row,) = plain_rows(frame(entry.table, [entry.row]))
                found.append(Item(task_tables()[entry.table], identity, row, tuple(plain_rows(epochs))))
        self._stamps = {identity: stamp for identity, stamp in self._stamps.items() if identity in paths}
        yield from sorted(found, key=lambda item: item.rank)


def _items_of(part: Part) -> Iterator[Item]:
    """Yield the records in a part, stages first."""
    epochs = part.read("epochs").to_pandas()
    of_identity = dict(iter(epochs.groupby("trial_id", sort=False)))
    for table in needed_first():
        for row in plain_rows(part.read(table.name).to_pandas()):
            identity = row[table.identity]
            yield Item(table, identity, row, tuple(plain_rows(of_identity.get(identity, epochs.iloc[:0]))))


def plain_rows(data: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows of a frame as plain values, without empty ones and without the columns that identify an epoch's task."""
    shown = data.drop(columns=[name for name in WHOSE if "epoch" in data and name in data])
    for record in shown.astype(object).to_dict("records"):
        yield {str(name): plain for name, value in record.items() if (plain := _plain(value)) is not None}


def _plain(value: Any) -> Any:
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else value
    return value.tolist() if hasattr(value, "tolist") else value
