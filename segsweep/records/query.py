"""Questions in SQL to the tables of records, through DuckDB, which is shown nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from segsweep.errors import UserError
from segsweep.records.reader import Records, load
from segsweep.records.schema import TABLES
from segsweep.records.tables import stacked, to_arrow

RUNS = Path("runs")  # whose studies are asked where none is named
SEALED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,  # neither files nor network nor extensions
    "python_enable_replacements": False,  # no variables of this process
    "temp_directory": "",
}


def sql(query: str, *studies: str | Path | Records) -> pd.DataFrame:
    """Return the answer to an SQL query (DuckDB's) over the tables trials, epochs, images, stages and confusions.

    `studies` are folders, W&B projects or loaded records, by default all study folders below `runs/`. Their tables stand below
    one another, told apart by the column `study`, and are those of `load`: of a running sweep the state at this moment. The query
    can read and write nothing else. What is undefined (NaN) is NULL. Raises `UserError` for a query that cannot be answered,
    saying which tables and columns there are, and where there is no study.
    """
    asked = studies or sorted(file.parent for file in RUNS.glob("*/study.json"))
    if not asked:
        raise UserError(f"{RUNS}/: holds no study to ask; run one, or name the folders of studies")
    found = [study if isinstance(study, Records) else load(study) for study in asked]
    return _answer(query, {table: stacked([to_arrow(getattr(records, table)) for records in found]) for table in TABLES})


def _answer(query: str, tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    import duckdb  # here, since only who asks needs it

    with duckdb.connect(":memory:", config=SEALED) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute("SET lock_configuration = true")
        try:
            connection.execute(query)
            return connection.df()
        except duckdb.Error as error:
            raise UserError(f"sql: {str(error).splitlines()[0]}; {_known(query, tables)}") from None


def _known(query: str, tables: Mapping[str, pa.Table]) -> str:
    """Return which tables there are, and the columns of those that a query names."""
    named = [name for name in tables if re.search(rf"\b{name}\b", query, re.IGNORECASE)]
    columns = [f"columns of {name}: {', '.join(tables[name].column_names)}" for name in named]
    return "; ".join([f"tables: {', '.join(tables)}", *columns])
