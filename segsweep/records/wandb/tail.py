"""Following records as they are written: which of them are new or have changed since the last look."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.lines import Row
from segsweep.records.parts import Part, as_found, parts_of, read_index
from segsweep.records.schema import FINAL, needed_first, task_tables
from segsweep.records.tables import frame, read_live
from segsweep.tasks.kind import RecordedArtifact, RecordTable

WHOSE = ("study", "trial_id", "phase")  # columns of an epoch that say whose it is


@dataclass(frozen=True)
class Item:
    """A task's record as it is now. Its row and epochs hold plain values, without the empty ones."""

    table: RecordTable
    identity: str
    row: Row
    epochs: tuple[Row, ...]

    @property
    def rank(self) -> int:
        """Its place among items that are sent at once: what others start from comes first."""
        return needed_first().index(self.table)

    @property
    def source(self) -> str | None:
        """The id of the record that it started from."""
        return self.row.get(self.table.source) if self.table.source is not None else None

    @property
    def made(self) -> RecordedArtifact | None:
        """How its artifact is named; None where it has none."""
        named = self.table.artifact
        return named if named is not None and self.row["status"] == "finished" and named.made(self.row) else None

    @property
    def ended(self) -> bool:
        """Whether its task has ended, so that its row will not change."""
        return self.row["status"] in FINAL


class RecordTail:
    """Reads what has changed in a study's folder: every part once, lines again when they have grown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._newest: dict[str, str] = {}  # by the id of a record, the last part that holds it
        self._seen: set[str] = set()
        self._stamps: dict[str, tuple[int, int]] = {}  # of lines that were read: size and time

    def look(self) -> Iterator[Item]:
        """Yield what is new since the last look: of every record the newest state, stages before trials."""
        parts = [part for part in parts_of(self.folder, read_index(self.folder)) if part.name not in self._seen]
        for part in parts:
            self._newest |= dict.fromkeys(part.ids or as_found(part.folder).ids, part.name)  # earlier versions listed no ids
        for part in parts:
            self._seen.add(part.name)
            if not part.is_damaged:
                yield from (item for item in _items_of(part) if self._newest[item.identity] == part.name)
        yield from self._live()

    def _live(self) -> Iterator[Item]:
        """Yield what runs, or has just ended, and has more lines than before."""
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
    """Yield what a part holds, stages first."""
    epochs = part.read("epochs").to_pandas()
    of_identity = dict(iter(epochs.groupby("trial_id", sort=False)))
    for table in needed_first():
        for row in plain_rows(part.read(table.name).to_pandas()):
            identity = row[table.identity]
            yield Item(table, identity, row, tuple(plain_rows(of_identity.get(identity, epochs.iloc[:0]))))


def plain_rows(data: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows of a frame as plain values, without the empty ones and without what says whose an epoch is."""
    shown = data.drop(columns=[name for name in WHOSE if "epoch" in data and name in data])
    for record in shown.astype(object).to_dict("records"):
        yield {str(name): plain for name, value in record.items() if (plain := _plain(value)) is not None}


def _plain(value: Any) -> Any:
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else value
    return value.tolist() if hasattr(value, "tolist") else value
