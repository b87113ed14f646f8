"""A table's rows, for tools that know nothing of pandas."""

import pandas as pd

from segsweep.records.lines import Row


def plain_rows(table: pd.DataFrame) -> list[Row]:
    """Return a table's rows by the names of columns, as Python's own values: None for what is missing."""
    columns = {str(name): [None if pd.isna(value) else value for value in table[name].tolist()] for name in table.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
