"""Export of the tables of records, one file per table."""

import json
from pathlib import Path

import pandas as pd

from segsweep.records.schema import TABLES
from segsweep.records.study_records import Records


def write_csv(records: Records, folder: Path) -> list[str]:
    """Write every table as `TABLE.csv` (UTF-8, with a header, missing values empty), and the declaration as `study.json`.

    Returns a line on the written files.
    """
    for name, table in _tables(records).items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return _finish(records, folder, "csv")


def write_parquet(records: Records, folder: Path) -> list[str]:
    """Write every table as `TABLE.parquet`, which keeps the types of columns, and the declaration as `study.json`.

    Returns a line on the written files.
    """
    for name, table in _tables(records).items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return _finish(records, folder, "parquet")


def _tables(records: Records) -> dict[str, pd.DataFrame]:
    """Return the tables of the study as it was last declared: name -> table."""
    return {name: records.table(name) for name in TABLES}


def _finish(records: Records, folder: Path, ending: str) -> list[str]:
    declared = {**records.study, "choices": {cell: dict(choice) for cell, choice in records.choices.items()}}
    (folder / "study.json").write_text(json.dumps(declared, indent=1, ensure_ascii=False), encoding="utf-8")
    counts = ", ".join(f"{name}.{ending} ({len(table)} rows)" for name, table in _tables(records).items())
    return [f"{folder}: {counts}, study.json"]
