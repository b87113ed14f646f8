"""From lines to rows of the tables, and from rows to frames with fixed columns and types."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from segsweep.records.lines import Row
from segsweep.records.schema import SCHEMA_VERSION, TABLES


@dataclass
class Entry:
    """All that one trial's or stage's lines say: its row, its epochs (each once, the last report of it), its tests."""

    table: str
    row: Row
    epochs: dict[int, Row] = field(default_factory=dict)
    images: list[Row] = field(default_factory=list)
    confusions: list[Row] = field(default_factory=list)

    @property
    def status(self) -> str:
        """How it ended, or `running`."""
        return str(self.row["status"])


def read_entry(lines: Sequence[Row]) -> Entry | None:
    """Return what the lines of one file say; None for a file without a whole line.

    Lines are `start` (once per attempt), `facts`, `epoch`, `images`, `confusions` and `end`.
    """
    if not lines:
        return None
    entry = Entry(lines[0]["table"], {"status": "running", "starts": 0, "seconds": 0.0, "schema_version": SCHEMA_VERSION})
    for line in lines:
        content = {name: value for name, value in line.items() if name not in ("kind", "table")}
        match line["kind"]:
            case "start":
                entry.row |= {**content, "status": "running", "error": None, "ended_at": None, "starts": entry.row["starts"] + 1}
                entry.row["started_at"] = entry.row.get("first_started_at", content["started_at"])
                entry.row["first_started_at"] = entry.row["started_at"]
            case "epoch":
                entry.epochs[content["epoch"]] = content
            case "images":
                entry.images = content["rows"]
            case "confusions":
                entry.confusions = content["rows"]
            case "facts" | "end":
                entry.row |= content
    del entry.row["first_started_at"]
    entry.row["seconds"] = sum(epoch["seconds"] for epoch in entry.epochs.values())
    return entry


def rows_of(entry: Entry) -> dict[str, list[Row]]:
    """Return an entry's rows of every table."""
    row = entry.row
    identity = row["trial_id"] if entry.table == "trials" else row["stage_id"]
    common = {"study": row["study"], "trial_id": identity}
    epochs = [{**common, "phase": row.get("phase", "stage"), **epoch} for _, epoch in sorted(entry.epochs.items())]
    of_test = {**common, "cell": row.get("cell"), "seed": row.get("seed")}
    images = [{**of_test, **image} for image in entry.images]
    confusions = [{**of_test, **count} for count in entry.confusions]
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    return {**tables, entry.table: [row], "epochs": epochs, "images": images, "confusions": confusions}


def frame(table: str, rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a frame that has at least the table's columns, in order, with their types."""
    data = pd.DataFrame(list(rows))
    return typed(table, data)


def typed(table: str, data: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with the table's columns first and in their types; further ones keep theirs."""
    schema = TABLES[table]
    columns: dict[str, Any] = {
        name: (data[name] if name in data else pd.Series(None, index=data.index, dtype=object)).astype(kind)  # type: ignore[call-overload]
        for name, kind in schema.items()
    }
    further = {name: data[name].infer_objects() for name in data.columns if name not in schema}
    return pd.DataFrame({**columns, **further}, index=data.index)
