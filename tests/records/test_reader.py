import math
import subprocess
import sys

import pandas as pd
import pytest

from segsweep.errors import UserError
from segsweep.records import load
from segsweep.records.reader import driver_alive
from segsweep.records.schema import SCHEMA_VERSION, TABLES
from segsweep.records.times import IN_UTC, TIMES
from segsweep.records.writer import RecordWriter


def assert_schema(records) -> None:
    for table, schema in TABLES.items():
        data = getattr(records, table)
        kinds = {name: str(kind) for name, kind in data.dtypes.items()}
        assert list(kinds)[: len(schema)] == list(schema), table
        assert {name: kinds[name] for name in schema} == {**schema, **{name: IN_UTC for name in TIMES if name in schema}}, table
        assert data.index.tolist() == list(range(len(data)))


@pytest.mark.parametrize("parts", [0, 2])
@pytest.mark.parametrize("live", [0, 2])
@pytest.mark.parametrize("planned", [0, 1])
def test_tables_have_the_schema(tmp_path, write, begin, kill, parts, live, planned):
    """Columns and types are those of the schema, whether rows are in parts, lines, the plan, all of them or nowhere."""
    first = begin(tmp_path)
    for number in range(parts):
        write(first, f"part{number}", images=2)
        first.compact()
    for number in range(live):
        write(first, f"live{number}", images=number)
    if planned:
        row = {"trial_id": "plan0", "cell": "c", "phase": "tune", "seed": 1, "status": "not_run", "epochs": 3}
        first.plan([row])
    kill(first)
    records = load(tmp_path)
    assert_schema(records)
    assert len(records.all_trials) == parts + live + planned
    assert len(records.all_epochs) == 2 * (parts + live)
    assert len(records.all_images) == 2 * parts + (live > 1)
    assert len(records.trials) == (1 if planned else parts + live)


def test_round_trip(tmp_path, begin, start_columns, epoch_row):
    """A reader reads what a driver has written, from lines and from a part."""
    writer = begin(tmp_path)
    writer.start("trials", "t", start_columns("t", phase="confirm", fraction=0.5, seed=7))
    writer.facts("t", {"train_images": 12, "device": "cpu x1"})
    writer.epoch("t", epoch_row(1, val_loss=0.75, learning_rate=0.1))
    images = [{"image": "a", "accuracy": 1.0, "iou": 0.25, "dice": 0.4, "boundary_f": 0.3}]
    confusions = [{"truth": "pet", "predicted": "background", "pixels": 2**40}]
    counts = [{"image": "a", "class": "pet", "hit": 2**33, "true": 2**34, "predicted": 0}]
    tables = {"images": images, "counts": counts, "confusions": confusions}
    writer.end("t", "finished", {"val_iou": 0.125, "test_iou_pet": 0.5}, tables)
    from_lines = load(tmp_path)
    writer.__exit__(None, None, None)
    from_parts = load(tmp_path)
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(from_lines, table), getattr(from_parts, table), check_dtype=False)
    (trial,) = from_parts.trials.to_dict("records")
    expected = {"trial_id": "t", "phase": "confirm", "fraction": 0.5, "seed": 7, "train_images": 12, "status": "finished"}
    expected |= {"val_iou": 0.125, "starts": 1, "seconds": 2.0, "schema_version": SCHEMA_VERSION, "target": "pets"}
    expected |= {"test_iou_pet": 0.5, "chosen": False}
    assert {name: trial[name] for name in expected} == expected
    assert trial["ended_at"] >= trial["started_at"]
    (epoch,) = from_parts.epochs.to_dict("records")
    assert (epoch["trial_id"], epoch["phase"], epoch["epoch"], epoch["val_loss"]) == ("t", "confirm", 1, 0.75)
    (image,) = from_parts.images.to_dict("records")
    of_test = {"study": "s", "trial_id": "t", "cell": "cell of t", "seed": 7}
    assert image == {**of_test, **images[0]}
    assert from_parts.counts.to_dict("records") == [{**of_test, **counts[0]}]
    assert from_parts.confusions.to_dict("records") == [{**of_test, **confusions[0]}]


@pytest.mark.parametrize("newer", [0, 1])
def test_parts_of_earlier_versions_still_load(tmp_path, write, begin, as_earlier, newer):
    """Parts without counts, scores and confusion matrices load; rows of newer parts and lines are present."""
    writer = begin(tmp_path)
    write(writer, "old", images=2)
    writer.compact()
    for table in ("counts", "scores", "confusions"):
        (tmp_path / "parts" / "000001" / f"{table}.parquet").unlink()
    as_earlier(tmp_path)
    for _ in range(newer):
        writer.start("trials", "new", {"study": "s", "trial_id": "new", "cell": "c", "seed": 3})
        counts = [{"image": "p", "class": "a", "hit": 5, "true": 5, "predicted": 6}]
        confusions = [{"truth": "a", "predicted": "a", "pixels": 5}]
        writer.end("new", "finished", {}, {"counts": counts, "confusions": confusions})
        writer.start("scores", "scored", {"study": "s", "score_id": "scored"})
        writer.end("scored", "finished", {"logme": -0.9})
    for _ in range(2):
        records = load(tmp_path)
        assert_schema(records)
        assert (len(records.trials), len(records.epochs), len(records.images)) == (1 + newer, 2, 2)
        assert records.confusions[["trial_id", "seed", "pixels"]].values.tolist() == [["new", 3, 5]] * newer
        assert records.counts[["trial_id", "seed", "hit"]].values.tolist() == [["new", 3, 5]] * newer
        assert records.scores[["score_id", "logme"]].values.tolist() == [["scored", -0.9]] * newer
        writer.compact()
    writer.__exit__(None, None, None)


def test_undefined_numbers_stay_undefined(tmp_path, begin, start_columns, epoch_row):
    """A NaN metric reads as NaN from lines and parts, and so does an infinite one; missing integers are NA."""
    writer = begin(tmp_path)
    writer.start("trials", "t", start_columns("t"))
    writer.epoch("t", epoch_row(1, val_iou=math.nan, val_loss=math.inf))
    writer.end("t", "finished", {"val_iou": math.nan, "test_iou": math.nan, "best_epoch": None})
    for _ in range(2):
        records = load(tmp_path)
        assert records.epochs[["val_iou", "val_loss"]].isna().all(axis=None)
        assert records.trials[["val_iou", "test_iou", "best_epoch"]].isna().all(axis=None)
        assert_schema(records)
        writer.compact()
    writer.__exit__(None, None, None)


def test_running_or_interrupted(tmp_path, begin, kill, start_columns):
    """A record without an end is running or paused while a driver holds the study, otherwise interrupted."""
    writer = begin(tmp_path)
    for trial in ("t", "u"):
        writer.start("trials", trial, start_columns(trial))
    writer.end("u", "paused", {})
    assert load(tmp_path).trials["status"].tolist() == ["running", "paused"]
    assert driver_alive(tmp_path)
    kill(writer)
    assert load(tmp_path).trials["status"].tolist() == ["interrupted"] * 2
    assert not driver_alive(tmp_path)


def test_running_is_seen_from_another_process(tmp_path, begin, start_columns):
    """A reader in another process sees that a driver is alive."""
    writer = begin(tmp_path)
    writer.start("trials", "t", start_columns("t"))
    code = f"from segsweep.records import load; print(load({str(tmp_path)!r}).trials['status'].tolist())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['running']"
    writer.__exit__(None, None, None)


def test_planned_trials_wait(tmp_path, write, begin):
    """A planned trial without lines is `not_run`; one that has run has one row, with the plan's name of its cell."""
    writer = begin(tmp_path)
    write(writer, "a")
    shared = {"phase": "tune", "seed": 0, "status": "not_run", "study": "s", "learning_rate": 0.25}
    writer.plan([{**shared, "trial_id": "a", "cell": "renamed"}, {**shared, "trial_id": "b", "cell": "other"}])
    trials = load(tmp_path).trials.set_index("trial_id")
    assert trials["status"].to_dict() == {"a": "finished", "b": "not_run"}
    assert trials["cell"].to_dict() == {"a": "renamed", "b": "other"}
    assert trials.loc["b", "learning_rate"] == 0.25
    writer.__exit__(None, None, None)


def test_a_confirmed_run_replaces_its_provisional_row(tmp_path, begin, start_columns):
    """A started confirmed run replaces the undecided row of its cell and seed; other seeds still wait."""
    writer = begin(tmp_path)
    shared = {"cell": "c", "phase": "confirm", "status": "not_run"}
    writer.plan([{**shared, "trial_id": f"p{seed}-undecided", "seed": seed} for seed in (1, 2)])
    writer.choose("c", {"chosen": "t", "confirm": ["k1", "k2"], "at_edge": []})
    writer.start("trials", "k1", start_columns("k1", phase="confirm", cell="c", seed=1))
    trials = load(tmp_path).trials.set_index("trial_id")
    assert trials["status"].to_dict() == {"k1": "running", "p2-undecided": "not_run"}
    writer.__exit__(None, None, None)


def test_chosen_trials_are_marked(tmp_path, write, begin):
    """The chosen tuning trial and its confirmed runs are marked; a later choice of the cell replaces the earlier one."""
    writer = begin(tmp_path)
    for name in ("a", "b", "k"):
        write(writer, name)
    writer.choose("c", {"chosen": "a", "confirm": []})
    writer.choose("c", {"chosen": "b", "confirm": ["k"], "at_edge": ["learning_rate"]})
    writer.choose("empty", {"chosen": None, "confirm": []})
    records = load(tmp_path)
    assert records.trials.set_index("trial_id")["chosen"].to_dict() == {"a": False, "b": True, "k": True}
    assert records.choices["c"]["at_edge"] == ["learning_rate"]
    writer.__exit__(None, None, None)
    with RecordWriter(tmp_path) as again:  # every start chooses again
        again.plan([])
        assert not load(tmp_path).all_trials["chosen"].any()


def test_stages_have_their_own_table(tmp_path, begin, epoch_row):
    """A stage is in the table of stages, its epochs are under its id, and the trials table has no row for it."""
    writer = begin(tmp_path)
    writer.start("stages", "g", {"study": "s", "stage_id": "g", "stage": "supervised:pets"})
    writer.epoch("g", epoch_row(1))
    writer.end("g", "finished", {"key": "k", "content_hash": "h", "val_loss": 0.5})
    for _ in range(2):
        records = load(tmp_path)
        assert records.stages[["stage_id", "status", "key", "val_loss"]].values.tolist() == [["g", "finished", "k", 0.5]]
        assert records.epochs[["trial_id", "phase"]].values.tolist() == [["g", "stage"]]
        assert len(records.trials) == 0
        assert_schema(records)
        writer.compact()
    writer.__exit__(None, None, None)


def test_torn_line_is_left_out(tmp_path, write, begin, kill):
    """An incomplete line is ignored: the trial has the state of its complete lines."""
    writer = begin(tmp_path)
    write(writer, "t", epochs=2)
    path = tmp_path / "live" / "t.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    kill(writer)
    records = load(tmp_path)
    assert records.trials["status"].tolist() == ["interrupted"]
    assert records.epochs["epoch"].tolist() == [1, 2]


def test_folder_without_a_study_is_one_line(tmp_path):
    """For a folder without a study the error names the folder."""
    with pytest.raises(UserError, match=r"none: holds no study \(no study.json\)"):
        load(tmp_path / "none")
