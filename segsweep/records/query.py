"""SQL queries over the tables of records with DuckDB, which has access to nothing else."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import pandas as pd
import pyarrow as pa

from segsweep.errors import UserError, nearest
from segsweep.records.schema import TABLES
from segsweep.records.tables import stacked, to_arrow
from segsweep.records.times import in_utc, without_zone

SEALED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,  # no files, no network, no extensions
    "python_enable_replacements": False,  # no variables of this process
    "temp_directory": "",
}
BARE = re.compile(r"""(?<![\w."'])freeze(?![\w"'])""", re.IGNORECASE)  # a column whose name is a keyword of DuckDB
WORD = '"freeze" is a keyword of SQL: write the column in double quotes; '
NOT_CODE = re.compile(  # quoted names, strings and comments
    r"""(?P<name>"(?:[^"]|"")*")|\be'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*.*?\*/""",
    re.IGNORECASE | re.DOTALL,
)
QUERIES_COUNTS = re.compile(  # table `counts` after FROM or JOIN, or in a list of FROM
    r"\b(?:from|join)\b[\s(]*(?:\w+\.)?(?:all_)?counts\b"
    r"|\bfrom\b(?:(?!\b(?:select|where|group|having|order|limit|union)\b).)*,[\s(]*(?:\w+\.)?(?:all_)?counts\b",
    re.IGNORECASE | re.DOTALL,
)
DEFINES_COUNTS = re.compile(  # WITH counts AS (...)
    r"\b(?:all_)?counts\s*(?:\([^()]*\)\s*)?as\s+(?:(?:not\s+)?materialized\s*)?\(", re.IGNORECASE
)
TRUE_WORD = re.compile(  # `true` is a keyword with a value (1 in sums); after a comparison or IS it is meant as a constant
    r"(?P<constant>(?:(?<![<>])=|<>|\bis|\bnot)\s*)?(?<![\w.])true\b", re.IGNORECASE
)
PIXELS = re.compile(r"\b(?:hit|predicted)\s*(?:=|<>|!=)\s*true\b", re.IGNORECASE)  # compared with the column


class Tables(Protocol):
    """An object with tables by name, such as the records of a study."""

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by name, such as `trials` or `all_trials`."""


def with_all_rows(table: str) -> str:
    """Return the name of the table with all rows, planned or not."""
    return f"all_{table}"


def tables_of(studies: Sequence[Tables]) -> dict[str, pa.Table]:
    """Return the concatenated tables of several studies, by name."""
    tables = {table: _below_one_another(studies, table) for table in TABLES}
    return tables | {with_all_rows(table): _everything(studies, table, tables[table]) for table in TABLES}


def answer(query: str, tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    """Return the result of an SQL query over tables, with datetimes in UTC. Raises `UserError` if the query fails."""
    if _misreads_true(query):
        raise UserError(
            'sql: "true" is a column of counts and a keyword of SQL: write the column in double quotes, the constant as 1=1'
        )
    return _answer(query, tables)


def _below_one_another(studies: Sequence[Tables], table: str) -> pa.Table:
    return stacked([to_arrow(without_zone(records.table(table))) for records in studies])


def _everything(studies: Sequence[Tables], table: str, planned: pa.Table) -> pa.Table:
    """Return a table with all rows; this is the `planned` table if every row is planned."""
    alike = all(records.table(table) is records.table(with_all_rows(table)) for records in studies)
    return planned if alike else _below_one_another(studies, with_all_rows(table))


def _misreads_true(query: str) -> bool:
    """Return whether a query over `counts` has an unquoted `true` that may mean the column."""
    code = NOT_CODE.sub(_without_quotes, query)
    if not QUERIES_COUNTS.search(code) or DEFINES_COUNTS.search(code):
        return False
    return PIXELS.search(code) is not None or any(found["constant"] is None for found in TRUE_WORD.finditer(code))


def _without_quotes(found: re.Match[str]) -> str:
    """Replace a string or comment by a space; unquote a quoted name, unless it is `true` or not an identifier."""
    name = (found["name"] or "").strip('"')
    return name if name.isidentifier() and name.lower() != "true" else " _ " if name else " "


def _answer(query: str, tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    import duckdb  # imported here, since only queries need it

    with duckdb.connect(":memory:", config=SEALED) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute("SET lock_configuration = true")
        try:
            connection.execute(query)
            return in_utc(connection.df())
        except duckdb.Error as error:
            message = str(error).splitlines()[0]
            hint = WORD if "syntax error" in message and BARE.search(query) else ""
            raise UserError(f"sql: {message}; {hint}{_known(query, message, tables)}") from None


def _known(query: str, message: str, tables: Mapping[str, pa.Table]) -> str:
    """Return the tables, the columns similar to a missing one, and the query that lists all columns, for an error message."""
    missing = re.search(r'column (?:named )?"([^"]+)"', message)
    named = [name for name in tables if re.search(rf"\b{name}\b", query, re.IGNORECASE)]
    columns = {name: tables[name].column_names for name in named}
    if missing:
        columns = {name: nearest(missing[1], known) for name, known in columns.items()}
        listed = [f"like it in {name}: {', '.join(near)}" for name, near in columns.items() if near]
        listed += [f"all columns: describe {name}" for name in named]
    else:
        listed = [f"columns of {name}: describe {name}" for name in named]
    known = f"tables: {', '.join(TABLES)}; all_trials and so on contain all runs, planned or not"
    return "; ".join([known, *listed])
