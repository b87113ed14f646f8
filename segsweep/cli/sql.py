"""`segsweep sql`: run an SQL query on the records of studies."""

import argparse

import pandas as pd
from rich.console import Console

from segsweep.records import reader
from segsweep.records.find import find_study


def sql(options: argparse.Namespace, console: Console) -> None:  # noqa: ARG001
    """Print the result of a query, as a table or as CSV."""
    result = reader.sql(options.query, *(find_study(study) for study in options.studies))
    print(result.to_csv(index=False).rstrip("\n") if options.csv else _table(result))


def _table(result: pd.DataFrame) -> str:
    """Return a result as a readable table: numbers with six digits, numbers from a million on (such as times) with twelve."""
    if result.empty:
        return f"{' '.join(result.columns)}\n(no rows)"
    return result.to_string(index=False, float_format=lambda value: f"{value:.{6 if abs(value) < 1e6 else 12}g}")
