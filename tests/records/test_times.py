"""Times of records: seconds in files, datetimes in UTC in tables and in SQL."""

import math
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from segsweep.records import load
from segsweep.records.times import IN_UTC, seconds_of, with_datetimes, without_zone


def test_seconds_become_datetimes_to_the_microsecond() -> None:
    """Seconds since 1970 become the same moment in UTC; missing and absurd times become NaT."""
    data = pd.DataFrame({"started_at": [1_764_362_608.123456, math.nan, math.inf, 1e300], "seconds": 1.5})
    dated = with_datetimes(data)
    assert str(dated["started_at"].dtype) == IN_UTC
    assert dated["started_at"][0] == pd.Timestamp("2025-11-28 20:43:28.123456+00:00")
    assert dated["started_at"].isna().tolist() == [False, True, True, True]
    assert dated["seconds"].tolist() == [1.5] * 4
    assert with_datetimes(dated) is dated
    assert [seconds_of(time) for time in dated["started_at"]] == [1_764_362_608.123456, None, None, None]
    assert without_zone(dated)["started_at"][0] == pd.Timestamp("2025-11-28 20:43:28.123456")


@pytest.mark.parametrize("compacts", [True, False])
def test_files_hold_seconds_and_tables_datetimes(tmp_path: Path, begin, write, compacts) -> None:
    """Parts and lines hold seconds, as earlier versions wrote them; the loaded table holds datetimes of the same moments."""
    writer = begin(tmp_path)
    write(writer, "t")
    if compacts:
        writer.compact()
        (part,) = tmp_path.glob("parts/*/trials.parquet")
        assert str(pq.read_schema(part).field("started_at").type) == "double"
    trials = load(tmp_path).trials
    assert (pd.Timestamp.now("UTC") - trials["started_at"][0]).total_seconds() < 60
    assert (trials["ended_at"] - trials["started_at"]).dt.total_seconds()[0] >= 0
    writer.__exit__(None, None, None)


def test_sql_compares_and_subtracts_times(tmp_path: Path, begin, write) -> None:
    """SQL compares times with texts in UTC and subtracts them; its results are datetimes in UTC, equal to those of the table."""
    writer = begin(tmp_path)
    write(writer, "t")
    records = load(tmp_path)
    query = "select started_at, epoch(ended_at - started_at) as lasted, started_at > '2026-01-01' later from trials"
    (row,) = records.sql(query).to_dict("records")
    assert row["started_at"] == records.trials["started_at"][0]
    assert row["later"] is True
    assert row["lasted"] == pytest.approx((records.trials["ended_at"] - records.trials["started_at"])[0].total_seconds())
    writer.__exit__(None, None, None)
