import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from contextlib import contextmanager

import pandas as pd
import pytest

from segsweep.errors import UserError
from segsweep.records import load, parts, tables, writer
from segsweep.records.lines import read_lines, read_study, write_object
from segsweep.records.schema import FINAL, SCHEMA_VERSION
from segsweep.records.writer import RecordWriter


def test_ended_trials_become_parts(tmp_path, write, begin):
    """When a writer closes, ended trials are in a part and their lines are removed; interrupted ones keep their lines."""
    open_writer = begin(tmp_path)
    for status in (*FINAL, "interrupted"):
        write(open_writer, f"t-{status}", status=status)
    open_writer.__exit__(None, None, None)
    assert [path.stem for path in (tmp_path / "live").iterdir()] == ["t-interrupted"]
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["000001"]
    trials = load(tmp_path).trials.set_index("trial_id")
    assert trials["status"].to_dict() == {f"t-{status}": status for status in (*FINAL, "interrupted")}


def test_parts_are_made_as_trials_end(tmp_path, write, begin, monkeypatch):
    """As soon as enough trials for a part have ended they are moved to it, each exactly once."""
    monkeypatch.setattr(writer, "ENDED_PER_PART", 3)
    open_writer = begin(tmp_path)
    for number in range(7):
        write(open_writer, f"t{number}")
    assert len(list((tmp_path / "parts").iterdir())) == 2
    assert len(list((tmp_path / "live").iterdir())) == 1
    assert sorted(load(tmp_path).trials["trial_id"]) == [f"t{number}" for number in range(7)]
    open_writer.__exit__(None, None, None)


def test_memory_does_not_grow_with_the_trials(tmp_path, write, begin):
    """A writer keeps nothing of trials in parts: after hundreds more trials its memory is the same."""
    open_writer = begin(tmp_path)
    held = []
    tracemalloc.start()
    for trial in range(6 * writer.ENDED_PER_PART + 1):
        if trial % (2 * writer.ENDED_PER_PART) == 1:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        write(open_writer, f"t{trial}", epochs=1)
    tracemalloc.stop()
    assert held[-1] - held[1] < 25_000  # a set of epochs and a name per trial would take 40 kB
    open_writer.__exit__(None, None, None)


def test_crash_between_part_and_lines_doubles_nothing(tmp_path, write, begin, kill, monkeypatch):
    """A driver that dies after writing a part and before removing the lines leaves every row once, permanently."""
    open_writer = begin(tmp_path)
    write(open_writer, "a", epochs=2, images=3)
    write(open_writer, "b", epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            open_writer.compact()
    kill(open_writer)
    for _ in range(2):
        assert len(list((tmp_path / "parts").iterdir())) >= 1
        records = load(tmp_path)
        assert sorted(records.trials["trial_id"]) == ["a", "b"]
        assert len(records.epochs) == 3
        assert len(records.images) == 3
        with RecordWriter(tmp_path):
            pass
    assert not list((tmp_path / "live").iterdir())


def test_crash_while_a_part_is_written_loses_nothing(tmp_path, write, begin, kill, monkeypatch):
    """A driver that dies before the rename of a part leaves the lines; the incomplete part is ignored and replaced."""
    open_writer = begin(tmp_path)
    write(open_writer, "a")
    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "rename", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            open_writer.compact()
    kill(open_writer)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["000001.tmp"]
    assert load(tmp_path).trials["trial_id"].tolist() == ["a"]
    with RecordWriter(tmp_path):
        pass
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["000001"]
    assert load(tmp_path).trials["trial_id"].tolist() == ["a"]


@pytest.mark.parametrize("moment", range(4))
def test_part_that_appears_during_a_load_hides_nothing(tmp_path, write, begin, monkeypatch, moment):
    """If all ended trials move to a part during a load, the reader finds every row once, whichever lines it has read."""
    open_writer = begin(tmp_path)
    for name in ("a", "b", "c"):
        write(open_writer, name, images=1)
    calls = []

    def read_later(path):
        calls.append(path)
        if len(calls) == moment + 1:
            open_writer.compact()
        return read_lines(path)

    for module in (tables, parts):
        monkeypatch.setattr(module, "read_lines", read_later)
    records = load(tmp_path)
    assert (tmp_path / "parts" / "000001").is_dir(), len(calls)
    assert sorted(records.trials["trial_id"]) == sorted(records.images["trial_id"]) == ["a", "b", "c"]
    assert (records.epochs.groupby("trial_id").size() == 2).all()
    open_writer.__exit__(None, None, None)


def test_epoch_is_written_once(tmp_path, begin, kill, start_columns, epoch_row):
    """An epoch that is reported again, in one run or after a restart, adds no line."""
    first = begin(tmp_path)
    first.start("trials", "t", start_columns("t"))
    for number in (1, 1, 2):
        first.epoch("t", epoch_row(number))
    kill(first)
    second = begin(tmp_path)
    second.start("trials", "t", start_columns("t"))
    for number in (1, 2, 3):
        second.epoch("t", epoch_row(number))
    lines = read_lines(tmp_path / "live" / "t.jsonl")
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2, 3]
    kill(second)
    assert load(tmp_path).trials["starts"].tolist() == [2]


def test_second_writer_is_refused(tmp_path, begin, write, kill, monkeypatch):
    """A study has one driver: a second one is refused in one line that names the holder, and changes nothing."""
    monkeypatch.setattr(writer, "LOCK_SECONDS", 0.05)
    first = begin(tmp_path)
    first.choose("cell", {"chosen": "a", "confirm": []})
    with pytest.raises(UserError) as caught, RecordWriter(tmp_path):
        pass
    text = str(caught.value)
    assert "\n" not in text
    assert str(tmp_path) in text
    assert str(os.getpid()) in text
    write(first, "a")
    records = load(tmp_path)
    assert records.trials["chosen"].tolist() == [True]
    kill(first)
    with RecordWriter(tmp_path):
        pass


def test_a_restarted_trial_is_not_moved_while_it_runs(tmp_path, write, begin, kill, start_columns, epoch_row):
    """A trial that ended under a killed driver and restarts stays live until it ends again."""
    first = begin(tmp_path)
    write(first, "again", status="failed")
    kill(first)
    second = begin(tmp_path)
    second.start("trials", "again", start_columns("again"), again=True)
    second.compact()
    second.epoch("again", epoch_row(1))
    records = load(tmp_path)
    assert records.trials["status"].tolist() == ["running"]
    assert records.epochs["epoch"].tolist() == [1]
    second.end("again", "finished", {})
    second.__exit__(None, None, None)
    assert load(tmp_path).trials["status"].tolist() == ["finished"]


def test_a_start_again_drops_the_earlier_attempt(tmp_path, write, begin, start_columns):
    """`again` drops the rows of the earlier attempt at once, including those in parts."""
    with RecordWriter(tmp_path) as first:
        first.declare({"schema_version": SCHEMA_VERSION, "name": "s"})
        write(first, "t", epochs=3, status="failed", images=2)
    second = begin(tmp_path)
    second.start("trials", "t", start_columns("t"), again=True)
    records = load(tmp_path)
    assert records.trials["status"].tolist() == ["running"]
    assert records.trials["starts"].tolist() == [1]
    assert len(records.epochs) == len(records.images) == 0
    second.end("t", "failed", {"error": "at once"})
    second.__exit__(None, None, None)
    records = load(tmp_path)
    assert records.trials["error"].tolist() == ["at once"]
    assert len(records.epochs) == len(records.images) == 0


def test_error_keeps_the_lines(tmp_path, write, begin):
    """A writer that ends with an error releases the lock and leaves lines unchanged; Ctrl-C compacts them."""
    open_writer = begin(tmp_path)
    write(open_writer, "a")
    open_writer.__exit__(ValueError, ValueError(), None)
    assert len(list((tmp_path / "live").iterdir())) == 1
    begin(tmp_path).__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not list((tmp_path / "live").iterdir())
    assert load(tmp_path).trials["status"].tolist() == ["finished"]


def test_every_start_is_kept(tmp_path, begin):
    """The declaration is that of the last start, with one entry for every start."""
    for _ in range(3):
        begin(tmp_path).__exit__(None, None, None)
    assert [start["pid"] for start in load(tmp_path).study["starts"]] == [os.getpid()] * 3


def test_records_of_a_later_version_are_neither_read_nor_changed(tmp_path, write, begin):
    """Readers and writers refuse records of a later version in one line, and leave every byte unchanged."""
    open_writer = begin(tmp_path)
    write(open_writer, "a")
    open_writer.choose("c", {"chosen": "a", "confirm": []})
    open_writer.__exit__(ValueError, ValueError(), None)
    write_object(tmp_path / "study.json", read_study(tmp_path) | {"schema_version": SCHEMA_VERSION + 1})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    message = f"schema {SCHEMA_VERSION + 1}, this segsweep reads {SCHEMA_VERSION}; update it$"
    for _ in range(2):  # the lock was released
        with pytest.raises(UserError, match=message), RecordWriter(tmp_path):
            pass
    with pytest.raises(UserError, match=message):
        load(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path):
    """If the folder for records cannot be created, one line names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out: folder .*file/study cannot be created: Not a directory"):
        RecordWriter(tmp_path / "file" / "study")


def test_trace_is_kept(tmp_path, begin):
    """The traceback of a failure is in a file that the writer names."""
    open_writer = begin(tmp_path)
    path = open_writer.trace("t", "Traceback\nValueError: ü")
    assert path.read_text(encoding="utf-8") == "Traceback\nValueError: ü"
    assert path.parent == tmp_path / "errors"
    open_writer.__exit__(None, None, None)


DRIVER = """
    import itertools, pathlib, sys
    from segsweep.records.schema import SCHEMA_VERSION
    from segsweep.records import load, writer
    writer.ENDED_PER_PART = 5
    folder = pathlib.Path(sys.argv[1])
    with writer.RecordWriter(folder) as records:
        records.declare({"schema_version": SCHEMA_VERSION, "name": "s"})
        for trial in itertools.count((load(folder).trials["status"] == "finished").sum()):
            name = f"t{trial:06d}"
            records.start("trials", name, {"study": "s", "trial_id": name, "cell": "c", "phase": "tune", "seed": 0})
            for epoch in range(1, 4):
                records.epoch(name, {"epoch": epoch, "seconds": 0.5, "val_iou": 0.1, "note": "x" * 3000})
            confusions = [{"truth": "a", "predicted": "a", "pixels": 1}]
            counts = [{"image": "p", "class": "a", "hit": 1, "true": 1, "predicted": 1}]
            tables = {"images": [{"image": "p", "iou": 0.5}], "counts": counts, "confusions": confusions}
            records.end(name, "finished", {"val_iou": 0.5}, tables)
            print(name, flush=True)
"""


@contextmanager
def driving(folder):
    """A process that writes one trial after another until it is killed; the fixture returns after the first trial."""
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("t")
        yield process
        process.kill()


@pytest.fixture
def driver(tmp_path):
    with driving(tmp_path) as process:
        yield process


def test_killed_driver_leaves_readable_records(tmp_path, driver, start_columns, monkeypatch):
    """After kill -9 during a write, every trial reported as ended is recorded once, and a new driver continues.

    While the first driver is alive, a second one is refused.
    """
    monkeypatch.setattr(writer, "LOCK_SECONDS", 0.05)
    for _ in range(12):
        output = driver.stdout.readline().strip()
    with pytest.raises(UserError, match=rf"is being written by another run .*{driver.pid}"), RecordWriter(tmp_path):
        pass
    os.kill(driver.pid, signal.SIGKILL)
    output = ([output, *driver.stdout.read().split()])[-1]
    driver.wait()
    records = load(tmp_path)
    ended = records.trials[records.trials["status"] == "finished"]
    assert set(ended["trial_id"]) >= {f"t{number:06d}" for number in range(int(output[1:]) + 1)}
    assert records.trials["trial_id"].is_unique
    assert set(records.trials["status"]) <= {"finished", "interrupted"}
    assert not records.epochs.duplicated(["trial_id", "epoch"]).any()
    assert (records.epochs.groupby("trial_id").size()[ended["trial_id"]] == 3).all()
    with RecordWriter(tmp_path) as second:
        assert {entry.status for entry in second.live_entries().values()} <= {"finished", "running"}
        last = records.trials["trial_id"].max()
        second.start("trials", last, start_columns(last))
        second.epoch(last, {"epoch": 4, "seconds": 0.5})
        second.end(last, "finished", {})
    again = load(tmp_path).trials.set_index("trial_id")
    assert set(again["status"]) == {"finished"}
    assert len(again) == len(records.trials)


def test_readers_see_whole_rows_whatever_is_killed(tmp_path):
    """While drivers append, compact and are killed at any step, every load is consistent: no row is torn, doubled or lost."""
    done, epochs_seen = set(), pd.Series(dtype="int64")
    for life in range(3):
        with driving(tmp_path) as process:
            until = time.monotonic() + 0.2 + random.Random(life).random() / 5
            while (alive := time.monotonic() < until) or process.poll() is None:
                if not alive:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                records = load(tmp_path)
                trials = records.trials.set_index("trial_id")
                assert trials.index.is_unique
                assert set(trials["status"]) <= {"finished", "running" if alive else "interrupted"}
                finished = trials.index[trials["status"] == "finished"]
                assert done <= set(finished)
                done = set(finished)
                epochs = records.epochs.groupby("trial_id")["epoch"].agg(list)
                assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in epochs)
                assert (epochs[finished].map(len) == 3).all()
                assert (records.epochs["note"].str.len() == 3000).all()
                assert (epochs.map(len).reindex(epochs_seen.index) >= epochs_seen).all()
                epochs_seen = epochs.map(len)
                for table in (records.images, records.counts, records.confusions):
                    assert table["trial_id"].is_unique
                    assert done <= set(table["trial_id"]) <= set(trials.index)
    assert len(done) > 10  # at least two parts


def test_facts_are_added_to_the_present_start_only(tmp_path):
    """Facts that are known later, such as what a run took, join the present start; earlier starts stay as they were."""
    for number in (1, 2):
        with RecordWriter(tmp_path) as writer:
            writer.declare({"schema_version": SCHEMA_VERSION, "name": "s"}, {"number": number})
            writer.add_to_start({"took": None})
            writer.add_to_start({"took": 10 * number})
    starts = read_study(tmp_path)["starts"]
    assert [(start["number"], start["took"]) for start in starts] == [(1, 10), (2, 20)]
