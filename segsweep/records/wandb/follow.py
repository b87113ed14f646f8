"""Following records as they are written: which trials and stages are new or have gone on since the last look."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.lines import Row, read_lines
from segsweep.records.schema import FINAL, IDENTITY
from segsweep.records.tables import frame, read_entry

RANK = {"stages": 0, "trials": 1}  # stages first: trials name what they built


@dataclass(frozen=True)
class Item:
    """A trial or a stage as the records have it now. Its row and epochs hold plain values, without the empty ones."""

    table: str
    identity: str
    row: Row
    epochs: tuple[Row, ...]

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, so that its row will not change."""
        return self.row["status"] in FINAL


class Follower:
    """Reads what has changed in a study's folder. What lies in a part is read once; lines again when they have grown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: set[str] = set()
        self._sizes: dict[str, int] = {}

    def changed(self) -> Iterator[Item]:
        """Return what is new since the last call, stages first, of every trial and stage the newest state.

        Lines are looked at before parts, into which they may move meanwhile.
        """
        live, parted = self._live(), self._parted()
        known = {item.identity for item in live}
        items = [*live, *(item for item in parted if item.identity not in known)]
        return iter(sorted(items, key=lambda item: RANK[item.table]))

    def _live(self) -> list[Item]:
        items = []
        sizes: dict[str, int] = {}
        for path in sorted((self.folder / "live").glob("*.jsonl")):
            try:
                sizes[path.name] = path.stat().st_size
            except FileNotFoundError:  # moved into a part meanwhile
                continue
            if sizes[path.name] == self._sizes.get(path.name):
                continue
            if (entry := read_entry(read_lines(path))) is not None:
                epochs = tuple(plain_rows(frame("epochs", [epoch for _, epoch in sorted(entry.epochs.items())])))
                (row,) = plain_rows(frame(entry.table, [entry.row]))
                items.append(Item(entry.table, path.stem, row, epochs))
        self._sizes = sizes
        return items

    def _parted(self) -> list[Item]:
        new = sorted((path for path in (self.folder / "parts").glob("*") if path.name.isdigit()), reverse=True)
        items: dict[str, Item] = {}
        for part in new:
            if part.name in self._parts:
                continue
            for item in _items_of(part):
                items.setdefault(item.identity, item)
            self._parts.add(part.name)
        return list(items.values())


def _items_of(part: Path) -> Iterator[Item]:
    """Yield what a part holds."""
    epochs = pd.read_parquet(part / "epochs.parquet")
    of_identity = {identity: rows for identity, rows in epochs.groupby("trial_id", sort=False)}
    nothing = epochs.iloc[:0]
    for table in RANK:
        for row in plain_rows(pd.read_parquet(part / f"{table}.parquet")):
            identity = row[IDENTITY[table]]
            yield Item(table, identity, row, tuple(plain_rows(of_identity.get(identity, nothing))))


OF_TRIAL = ("study", "trial_id", "phase")  # columns of an epoch that say whose it is


def plain_rows(data: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows of a frame as plain values, without empty ones and what says whose an epoch is."""
    dropped = [name for name in OF_TRIAL if "epoch" in data and name in data]
    for record in data.drop(columns=dropped).astype(object).to_dict("records"):
        yield {str(name): _plain(value) for name, value in record.items() if not _empty(value)}


def _empty(value: Any) -> bool:
    return value is None or (not isinstance(value, list | tuple | dict) and not hasattr(value, "__len__") and bool(pd.isna(value)))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


class Marks:
    """How the study's plan and choices name and mark trials: their cell, whether they are planned, whether they are chosen."""

    def __init__(self, plan: pd.DataFrame | None, choices: Mapping[str, Mapping[str, Any]]) -> None:
        self.chosen = {trial for choice in choices.values() for trial in (choice["chosen"], *choice["confirm"])}
        self.cells = {trial: choice["cell"] for choice in choices.values() for trial in choice["confirm"]}
        if plan is not None:
            self.cells |= dict(zip(plan["trial_id"], plan["cell"], strict=True))
        self.planned = self.chosen | (set() if plan is None else set(plan["trial_id"]))
