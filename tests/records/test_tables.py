import math

import pandas as pd
import pytest

from segsweep.records.schema import SCHEMA_VERSION, TABLES
from segsweep.records.tables import frame, from_arrow, read_entry, rows_of, stacked, to_arrow


def start(at: float, **values):
    return {"kind": "start", "table": "trials", "started_at": at, "study": "s", "trial_id": "t", "cell": "c", "seed": 1, **values}


def epoch(number: int, seconds: float = 1.0, **values):
    return {"kind": "epoch", "epoch": number, "seconds": seconds, **values}


def test_entry_joins_its_lines():
    """A trial's row has the columns of its start, facts and end lines; seconds are the sum over its epochs."""
    lines = [
        start(10.0),
        {"kind": "facts", "device": "cpu x1"},
        epoch(1, 2.0),
        epoch(2, 3.0),
        {"kind": "images", "rows": [{"image": "a"}]},
        {"kind": "end", "status": "finished", "ended_at": 20.0, "val_iou": 0.5},
    ]
    entry = read_entry(lines)
    expected = {"study": "s", "trial_id": "t", "cell": "c", "seed": 1, "error": None, "starts": 1, "started_at": 10.0}
    expected |= {"device": "cpu x1", "status": "finished", "ended_at": 20.0, "val_iou": 0.5, "seconds": 5.0}
    assert entry.row == {**expected, "schema_version": SCHEMA_VERSION}
    assert [row["epoch"] for row in rows_of(entry)["epochs"]] == [1, 2]
    assert rows_of(entry)["images"] == [{"study": "s", "trial_id": "t", "cell": "c", "seed": 1, "image": "a"}]


def test_a_resumed_entry_is_running_again():
    """A trial that resumes counts its starts, keeps its first start time, and has neither end nor error."""
    end = {"kind": "end", "status": "interrupted", "ended_at": 20.0, "error": "interrupted by the user"}
    entry = read_entry([start(10.0), epoch(1), end, start(30.0)])
    assert (entry.status, entry.row["starts"], entry.row["started_at"]) == ("running", 2, 10.0)
    assert entry.row["error"] is None
    assert entry.row["ended_at"] is None


def test_an_epoch_recorded_twice_counts_once():
    """An epoch that was recorded twice gives one row, the last report."""
    entry = read_entry([start(1.0), epoch(1, val_iou=0.1), epoch(2), epoch(1, val_iou=0.2)])
    rows = rows_of(entry)["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0]["val_iou"] == 0.2
    assert entry.row["seconds"] == 2.0


def test_file_without_a_complete_line_is_not_an_entry():
    """A file whose first line is incomplete gives no entry."""
    assert read_entry([]) is None


def test_stage_has_epochs_under_its_own_id():
    """The epochs of a stage have the stage's id and the phase `stage`; its row is in the stages table."""
    rows = rows_of(read_entry([{"kind": "start", "table": "stages", "started_at": 1.0, "study": "s", "stage_id": "g"}, epoch(1)]))
    assert rows["trials"] == []
    assert rows["stages"][0]["stage_id"] == "g"
    assert (rows["epochs"][0]["trial_id"], rows["epochs"][0]["phase"]) == ("g", "stage")


SAMPLES = {"string": "text", "float64": 0.5, "Int64": 3, "boolean": True}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("filled", ["nothing", "empty row", "full row", "both", "nan"])
def test_frames_have_the_schema(table, filled):
    """For any rows, a data frame has the columns of its table in order and with their types."""
    full = {name: SAMPLES[kind] for name, kind in TABLES[table].items()}
    nan = dict.fromkeys(full, math.nan)
    rows = {"nothing": [], "empty row": [{}], "full row": [full], "both": [full, {}], "nan": [full, nan]}[filled]
    data = frame(table, rows)
    assert {name: str(kind) for name, kind in data.dtypes.items()} == dict(TABLES[table])
    assert list(data.columns) == list(TABLES[table])
    assert len(data) == len(rows)
    if full in rows:
        assert data.iloc[0].to_dict() == full
    if len(rows) == 2:
        assert data.iloc[1].isna().all()


def test_further_columns_come_last():
    """Non-empty columns outside the schema follow it by name; rows without them are empty there."""
    data = frame("images", [{"image": "a", "odd": 1.5, "empty": None}, {"image": "b", "even": "x"}])
    assert list(data.columns) == [*TABLES["images"], "even", "odd"]
    assert data["odd"].tolist()[0] == 1.5
    assert pd.isna(data["odd"].tolist()[1])


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 3], "float64", [1.0, None, 3.0]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([True, None, False], "boolean", [True, None, False]),
        (["a", None], "string", ["a", None]),
        (["a", 1, 0.5, True, None], "string", ["a", "1", "0.5", "True", None]),
    ],
)
def test_further_columns_have_one_type(values, kind, expected):
    """The type of a further column depends only on its values; a mixture becomes text, so that a part can store it."""
    data = frame("images", [{"further": value} for value in values])
    for found in (data, from_arrow("images", to_arrow(data))):
        assert str(found["further"].dtype) == kind
        assert found["further"].astype(object).where(found["further"].notna(), None).tolist() == expected


@pytest.mark.parametrize("values", [[3, "a"], [3.0, "a"], [1e-5, "a"], [1e20, "a"], [True, "a"], [True, 3], [False, 2.5, None]])
def test_a_mixture_reads_the_same_however_it_is_divided(values):
    """The text of numbers and booleans does not depend on whether they are in one part or in several."""
    rows = [{"further": value} for value in values]
    whole = frame("images", rows)["further"]
    parts = from_arrow("images", stacked([to_arrow(frame("images", [row])) for row in rows]))["further"]
    assert whole.dtype == parts.dtype == "string"
    assert whole.equals(parts)


def test_a_column_with_text_in_one_table_is_text_in_all():
    """Tables are concatenated whatever types their further columns have; a table without a column is empty there."""
    several = [{"image": "a", "mix": 1.5}, {"image": "b", "mix": "x", "whole": 2}, {"image": "c"}]
    data = from_arrow("images", stacked([to_arrow(frame("images", [row])) for row in several]))
    assert data["image"].tolist() == ["a", "b", "c"]
    assert data["mix"].tolist()[:2] == ["1.5", "x"]
    assert data["whole"].tolist()[1] == 2
    assert data[["mix", "whole"]].isna().to_numpy().tolist() == [[False, True], [False, False], [True, True]]


def test_columns_that_the_rows_lack_are_independent():
    """A value that is set in one of them does not appear in another column of the same type."""
    data = frame("epochs", [{"trial_id": "a", "epoch": 1}])
    data.loc[0, ["val_iou", "phase", "steps"]] = [0.5, "tune", 3]
    same_types = data[["val_loss", "val_dice", "study", "micro_batch"]]
    assert same_types.isna().all(axis=None)
