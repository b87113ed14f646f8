"""The tables of records as CSV and Parquet."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd

from segsweep.records import Records
from segsweep.records.schema import TABLES
from segsweep.report.table_files import write_csv, write_parquet


def test_parquet_keeps_every_table_with_its_types(troubled: Records, tmp_path: Path) -> None:
    """A table that is read back is bit-identical, with its types and missing values."""
    write_parquet(troubled, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.parquet")} == set(TABLES)
    for name in TABLES:
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(troubled, name), check_exact=True)


def test_csv_has_every_value_of_every_table(troubled: Records, tmp_path: Path) -> None:
    """Python's own reader finds a header and every row; numbers are read back exactly, missing values are empty."""
    write_csv(troubled, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.csv")} == set(TABLES)
    for name in TABLES:
        table = getattr(troubled, name)
        with (tmp_path / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == table.columns.tolist()
        assert len(rows) == len(table)
        for column, texts in zip(header, zip(*rows, strict=True), strict=bool(rows)):
            expected = table[column]
            assert [text == "" for text in texts] == expected.isna().tolist()
            numeric = pd.api.types.is_float_dtype(expected)
            read = [float(text) if numeric else text for text in texts if text]
            assert read == [value if numeric else str(value) for value in expected.dropna()]


def test_the_declaration_is_written_with_the_tables(records: Records, tmp_path: Path) -> None:
    """`study.json` has the declaration, in any script, and the choice of every cell."""
    named = replace(records, study={**records.study, "fixed": {"loss": "größe"}})
    assert write_csv(named, tmp_path)[0].startswith(
        f"{tmp_path}: trials.csv (16 rows), stages.csv (1 rows), scores.csv (2 rows), epochs.csv (34 rows)"
    )
    written = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert written.pop("choices") == records.choices
    assert written == named.study
