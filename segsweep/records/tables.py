"""From lines to rows of the tables, and from rows to frames with fixed columns and types."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from segsweep.records.lines import Row
from segsweep.records.schema import FLAG, NUMBER, SCHEMA_VERSION, TABLES, TEXT


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
    """Return a frame with the table's columns first and in their types; then further ones that hold something, by name.

    Of further ones numbers are float64, truths boolean, texts string: the same whichever rows are there, and from wherever they came.
    """
    schema = TABLES[table]
    columns: dict[str, Any] = {
        name: (data[name] if name in data else pd.Series(None, index=data.index, dtype=object)).astype(kind)  # type: ignore[call-overload]
        for name, kind in schema.items()
    }
    further = {name: _further(data[name]) for name in sorted(set(data.columns) - set(schema)) if data[name].notna().any()}
    return pd.DataFrame({**columns, **further}, index=data.index)


def _further(values: pd.Series) -> Any:
    """Return a column that the schema does not name, in a type that follows from its values alone."""
    kinds = {type(value) for value in values.dropna().tolist()}
    kind: Any = FLAG if kinds == {bool} else NUMBER if kinds <= {int, float} else TEXT if kinds == {str} else object
    return values.astype(kind)
