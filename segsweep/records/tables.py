"""Conversion between lines, rows of tables, data frames with fixed columns and types, and Arrow tables."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray

from segsweep.records.damage import DamagedRecordsError
from segsweep.records.lines import Row, read_lines
from segsweep.records.schema import OF_TEST, SCHEMA_VERSION, TABLES, identity_column
from segsweep.tasks.kind import FLAG, INTEGER, NUMBER, TEXT

NULLABLE = {
    pa.string(): pd.StringDtype(),
    pa.large_string(): pd.StringDtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
# types of further columns, by the types in which they are read
OF_DTYPE: dict[str, Any] = {TEXT: TEXT, "str": TEXT, FLAG: FLAG, "bool": FLAG, NUMBER: NUMBER, INTEGER: NUMBER, "int64": NUMBER}
FAMILIES = ({pa.null(), pa.int64(), pa.float64()}, {pa.null(), pa.string(), pa.large_string()})  # compatible types


@dataclass
class Entry:
    """The content of one trial's or stage's lines: its row, the last report of each epoch, and the rows of its test."""

    table: str
    row: Row
    epochs: dict[int, Row] = field(default_factory=dict)
    tests: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The status at the end, or `running`."""
        return str(self.row["status"])


def read_live(path: Path) -> Entry | None:
    """Return the content of the lines of a running trial or stage; None for a file without a complete line.

    Raises `DamagedRecordsError`.
    """
    lines = read_lines(path)
    try:
        return read_entry(lines)
    except (KeyError, TypeError, AttributeError) as error:  # lines of earlier versions have no checksum
        raise DamagedRecordsError(path, f"is damaged ({type(error).__name__}: {error})") from None


def read_entry(lines: Sequence[Row]) -> Entry | None:
    """Return the content of the lines of one file; None for a file without a complete line.

    Lines are `start` (once per attempt), `facts`, `epoch`, the tables of the test by their names, and `end`; or only `found`.
    """
    if not lines:
        return None
    entry = Entry(lines[0]["table"], {"status": "running", "starts": 0, "seconds": 0.0, "schema_version": SCHEMA_VERSION})
    for line in lines:
        content = {name: value for name, value in line.items() if name not in ("kind", "table")}
        match line["kind"]:
            case "start":
                first = {name: entry.row[name] for name in ("start_number",) if name in entry.row}
                restarted = {"status": "running", "error": None, "ended_at": None, "starts": entry.row["starts"] + 1}
                entry.row |= {**content, **restarted, **first}
                entry.row["started_at"] = entry.row.get("first_started_at", content["started_at"])
                entry.row["first_started_at"] = entry.row["started_at"]
            case "epoch":
                entry.epochs[content["epoch"]] = content
            case table if table in OF_TEST:
                entry.tests[table] = content["rows"]
            case "facts" | "end":
                entry.row |= content
            case "found":
                entry.row |= {"started_at": content["ended_at"], **content, "status": "finished", "error": None}
    entry.row.pop("first_started_at", None)
    if (ended_at := entry.row.get("ended_at")) is not None:  # the clock may have been set back between two starts
        entry.row["ended_at"] = max(ended_at, entry.row["started_at"])
    if entry.epochs:  # a task without epochs states its own seconds
        entry.row["seconds"] = sum(epoch["seconds"] for epoch in entry.epochs.values())
    return entry


def rows_of(entry: Entry) -> dict[str, list[Row]]:
    """Return an entry's rows of every table."""
    row = entry.row
    identity = row[identity_column(entry.table)]
    common = {"study": row["study"], "trial_id": identity}
    epochs = [{**common, "phase": row.get("phase", "stage"), **epoch} for _, epoch in sorted(entry.epochs.items())]
    of_test = {**common, "cell": row.get("cell"), "seed": row.get("seed")}
    tests = {table: [{**of_test, **each} for each in rows] for table, rows in entry.tests.items()}
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    return {**tables, entry.table: [row], "epochs": epochs, **tests}


def frame(table: str, rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a data frame with at least the table's columns, in order and with their types."""
    data = pd.DataFrame(list(rows))
    return typed(table, data)


def typed(table: str, data: pd.DataFrame) -> pd.DataFrame:
    """Return a data frame with the table's columns first, in their types; then further non-empty columns by name.

    Further columns become float64 (numbers), boolean, or string (texts and mixtures), independent of which rows are present and
    where they come from.
    """
    schema, names = TABLES[table], [str(name) for name in data.columns]
    if dict(zip(names, (kind.name for kind in data.dtypes), strict=True)) == schema and names == list(schema):
        return data
    given = {name: data[name].array for name in names}  # arrays have no index, which would be compared with that of `data`
    lacking = {kind: _undefined(len(data), kind) for kind in set(schema.values())}
    columns = {name: _in_type(given[name], kind) if name in given else lacking[kind] for name, kind in schema.items()}
    further = {name: _further(given[name]) for name in sorted(given.keys() - schema) if not given[name].isna().all()}
    return pd.DataFrame({**columns, **further}, index=data.index)


def _undefined(rows: int, kind: Any) -> Any:
    return pd.array([None] * rows, dtype=kind)


def _in_type(values: Any, kind: Any) -> Any:
    return values if values.dtype.name == kind else values.astype(kind)


def _further(values: ExtensionArray) -> Any:
    """Return a column outside the schema, in a type that depends only on its values."""
    if (kind_of_all := OF_DTYPE.get(values.dtype.name)) is not None:
        return _in_type(values, kind_of_all)
    kinds = {type(value) for value in values[~values.isna()].tolist()}
    text = kinds <= {str, bool, int, float}
    kind: Any = FLAG if kinds == {bool} else NUMBER if kinds <= {int, float} else TEXT if text else object
    return (pd.Series(values).map(_text, na_action="ignore") if kind == TEXT else pd.Series(values)).astype(kind).array


def _text(value: Any) -> str:
    """Return a value of a mixed column as text, equal for an integer and an equal float.

    A part without texts in this column stores its integers as floats.
    """
    return str(value) if isinstance(value, str | bool) else str(float(value)).removesuffix(".0")


def to_arrow(data: pd.DataFrame) -> pa.Table:
    """Return a data frame as an Arrow table; undefined values are null."""
    return pa.Table.from_pandas(data, preserve_index=False)


def from_arrow(table: str, data: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a data frame with the columns and types of `table`."""
    return typed(table, data.to_pandas(types_mapper=NULLABLE.get, ignore_metadata=True))


def stacked(tables: Sequence[pa.Table]) -> pa.Table:
    """Return concatenated tables, with columns matched by name; columns of incompatible types become text."""
    kinds: dict[str, set[pa.DataType]] = defaultdict(set)
    for field_ in (field_ for data in tables for field_ in data.schema):
        kinds[field_.name].add(field_.type)
    text = {name for name, found in kinds.items() if len(found - {pa.null()}) > 1 and not any(map(found.issubset, FAMILIES))}
    return pa.concat_tables([_with_text(data, text) for data in tables], promote_options="permissive")


def _with_text(data: pa.Table, columns: set[str]) -> pa.Table:
    """Return a table with some columns converted to text."""
    for name in columns.intersection(data.column_names):
        texts = [None if value is None else _text(value) for value in data[name].to_pylist()]
        data = data.set_column(data.column_names.index(name), name, pa.array(texts, pa.large_string()))
    return data
