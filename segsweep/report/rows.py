"""Conversion of a table to rows of plain Python values."""

import pandas as pd

from segsweep.records.lines import Row


def plain_rows(table: pd.DataFrame) -> list[Row]:
    """Return a table's rows as column name -> Python value, with None for a missing value."""
    columns = {str(name): [None if pd.isna(value) else value for value in table[name].tolist()] for name in table.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
