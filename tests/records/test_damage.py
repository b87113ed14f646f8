"""Damaged and missing files of records."""

import errno
import json
import os
import random
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from segsweep.errors import UserError
from segsweep.records import Records, load
from segsweep.records.damage import DamagedRecordsError
from segsweep.records.query import with_all_rows
from segsweep.records.schema import TABLES
from segsweep.records.verify import damaged_records
from segsweep.records.writer import RecordWriter

FLIPS = 200
HARMLESS = ("driver.json", "part.json")  # the driver's host and pid; a copy of a line of the index
RUN_AGAIN = "run the study's command again"


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory, begin, kill, write, start_columns, epoch_row) -> Path:
    """Two parts, lines of an ended and a running trial, a stage, a plan, choices; the driver was killed. Read only."""
    folder = tmp_path_factory.mktemp("undamaged") / "s"
    writer = begin(folder)
    rows = [{**start_columns(name), "status": "not_run"} for name in ("a", "b", "c", "ended", "waits")]
    writer.plan(rows, ["g"])
    writer.start("stages", "g", {"study": "s", "stage_id": "g", "stage": "supervised:pets"})
    writer.epoch("g", epoch_row(1))
    writer.end("g", "finished", {"key": "k"})
    write(writer, "a", images=2)
    writer.compact()
    write(writer, "b")
    write(writer, "c", status="failed")
    write(writer, "left behind")
    writer.compact()
    write(writer, "ended")
    writer.start("trials", "waits", start_columns("waits"))
    writer.epoch("waits", epoch_row(1))
    writer.choose("cell of a", {"chosen": "a", "confirm": ["b"], "at_edge": []})
    kill(writer)
    return folder


@pytest.fixture(scope="module")
def whole(undamaged: Path) -> Records:
    """The records of this study."""
    return load(undamaged)


@pytest.fixture
def study(undamaged: Path, tmp_path: Path) -> Path:
    """A copy of this study."""
    return Path(shutil.copytree(undamaged, tmp_path / "s"))


def assert_equal(left, right) -> None:
    for table in (*TABLES, *map(with_all_rows, TABLES)):
        pd.testing.assert_frame_equal(getattr(left, table), getattr(right, table), obj=table)
    assert (left.choices, left.study) == (right.choices, right.study)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_flipped_bit_goes_unnoticed(study, whole):
    """After any flipped bit in any file, records read as before, or one line names the file and the remedy."""
    rng = random.Random(0)
    files = sorted(path for path in study.rglob("*") if path.is_file() and path.stat().st_size)
    files = [file for file in files if file.name in HARMLESS] + [file for file in files if file.name not in HARMLESS] * FLIPS
    for file in files[:FLIPS]:
        content = file.read_bytes()
        file.write_bytes(flipped(content, rng.randrange(8 * len(content))))
        if file.name in HARMLESS:
            assert_equal(load(study), whole)
        else:
            with pytest.raises(DamagedRecordsError, match=f"^{file}: .*{RUN_AGAIN}") as caught:
                load(study)
            assert "\n" not in str(caught.value)
        assert bool(damaged_records(study)) == (file.name != "driver.json")
        file.write_bytes(content)
    assert not damaged_records(study)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("parts/000001/trials.parquet", {"a", "g"}),
        ("parts/000002/epochs.parquet", {"b", "c", "left behind"}),
        ("live/ended.jsonl", {"ended"}),
        ("plan.parquet", set()),
        ("choices.jsonl", set()),
        ("index.jsonl", set()),
        ("study.json", set()),
    ],
)
@pytest.mark.parametrize("how", ["flipped", "missing", "cut"])
def test_a_start_sets_damage_aside_and_reports_it(study, whole, name, lost, how):
    """Readers refuse damaged or missing files; the next driver sets them aside, reports them, and keeps everything else.

    No row of a damaged file is shown, nor an older row of the same trials, so that they run again.
    """
    file = study / name
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(flipped(content, 8 * (len(content) // 2)) if how == "flipped" else content[: len(content) // 2] + b"\n")
    if (how, name) == ("missing", "live/ended.jsonl"):  # equals a trial that never ran
        assert not damaged_records(study)
    else:
        assert str(file) in " ".join(map(str, damaged_records(study)))
        with pytest.raises(DamagedRecordsError, match=rf"{file}: .*{RUN_AGAIN}"):
            load(study)
    with RecordWriter(study) as writer:
        assert bool(writer.notices) == (how != "missing" or name != "live/ended.jsonl")
        assert all(str(file) in line and "\n" not in line for line in writer.notices)
        if name == "study.json":
            assert writer.declare({"schema_version": 2, "name": "s"}) == whole.study["records_id"]
    records = load(study)
    kept = whole.all_trials[~whole.all_trials["trial_id"].isin(lost) & (whole.all_trials["status"] != "not_run")]
    ran = records.all_trials[records.all_trials["status"] != "not_run"]
    assert ran["trial_id"].tolist() == kept["trial_id"].tolist()
    assert ran["val_iou"].tolist() == pytest.approx(kept["val_iou"].tolist(), nan_ok=True)
    assert set(records.all_stages["stage_id"]) == {"g"} - lost
    assert not damaged_records(study)
    if how != "missing" and name != "index.jsonl":
        assert any((study / "damaged").iterdir())
    with RecordWriter(study) as writer:
        assert writer.notices == []


def test_a_whole_part_that_is_missing_is_noticed(study):
    """A missing part is an error for readers; the next start reports the number of trials that only it contained."""
    shutil.rmtree(study / "parts" / "000002")
    with pytest.raises(DamagedRecordsError, match=r"parts/000002/trials.parquet: is missing; run the study's command again"):
        load(study)
    with RecordWriter(study) as writer:
        assert writer.notices == [
            f"{study}/parts/000002/trials.parquet: is missing; the 3 trials and stages that only it held run again; "
            "stages are still in the store"
        ]
    assert sorted(load(study).all_trials["trial_id"]) == ["a", "b", "c", "ended", "waits"]  # b and c are only planned


def test_a_part_whose_trials_are_in_newer_parts_is_not_needed(study, begin, kill):
    """If every trial of a damaged part has run again since, readers have everything that they need."""
    writer = begin(study)
    for name in ("b", "c", "left behind"):
        writer.start("trials", name, {"study": "s", "trial_id": name, "cell": "c"}, again=True)
    kill(writer)
    (study / "parts" / "000002" / "trials.parquet").write_bytes(b"damaged")
    assert (load(study).all_trials.set_index("trial_id").loc[["b", "c"], "status"] == "interrupted").all()


def test_an_older_attempt_does_not_come_back(study, begin, kill):
    """A trial that failed, ran again, and lost its newer record to damage does not count as failed: it runs again."""
    writer = begin(study)
    writer.start("trials", "c", {"study": "s", "trial_id": "c", "cell": "c", "phase": "tune"}, again=True)
    writer.end("c", "finished", {})
    writer.compact()
    kill(writer)
    (study / "parts" / "000003" / "trials.parquet").write_bytes(b"damaged")
    with RecordWriter(study):
        pass
    assert load(study).all_trials.set_index("trial_id").loc["c", "status"] == "not_run"


def test_the_copy_in_wandb_is_offered(study):
    """The message for a damaged part names the command that loads the copy in W&B, if the study was mirrored."""
    (study / "wandb").mkdir()
    (study / "wandb" / "options.json").write_text(json.dumps({"mode": "online", "project": "lab/pets"}))
    (study / "parts" / "000001" / "trials.parquet").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"W&B has a copy: load\('wandb:lab/pets/s'\)$"):
        load(study)


def test_records_of_an_earlier_version_get_checksums(study, whole, as_earlier):
    """Records without checksums are readable, and get them at the next start; then every flipped bit is detected."""
    as_earlier(study)
    assert_equal(load(study), whole)
    with RecordWriter(study) as writer:
        assert writer.notices == []
        writer.declare({"schema_version": 2, "name": "s"})
    file = study / "parts" / "000002" / "images.parquet"
    file.write_bytes(flipped(file.read_bytes(), 8 * 100))
    with pytest.raises(DamagedRecordsError, match=r"images.parquet: is damaged"):
        load(study)


@pytest.mark.parametrize("content", [b"", b"no table", b"PAR1" + bytes(40) + b"PAR1"], ids=["empty", "text", "zeros"])
def test_a_damaged_part_of_an_earlier_version_is_one_line(study, as_earlier, content):
    """A table without a checksum whose bytes are no Parquet file raises one line that names the file and the reason."""
    as_earlier(study)
    path = study / "parts" / "000001" / "trials.parquet"
    path.write_bytes(content)
    with pytest.raises(DamagedRecordsError, match=rf"^{path}: (is damaged|cannot be read) \(\w+: ") as caught:
        load(study)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rest", [b"", bytes(40)], ids=["nothing", "zeros"])
def test_truncated_choices_are_detected(study, rest):
    """The index counts the choices: a file without its last lines is damaged, and the next start chooses again."""
    path = study / "choices.jsonl"
    path.write_bytes(rest)
    with pytest.raises(DamagedRecordsError, match=f"^{path}: has 0 lines instead of 1; {RUN_AGAIN}"):
        load(study)
    assert damaged_records(study)
    with RecordWriter(study) as writer:
        assert any("choices.jsonl" in line for line in writer.notices)
        assert not load(study).choices
        writer.plan([])
        writer.choose("cell of a", {"chosen": "a", "confirm": ["b"], "at_edge": []})
        writer.choose("another", {"chosen": None, "confirm": []})
    assert set(load(study).choices) == {"cell of a", "another"}
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(DamagedRecordsError, match="has 1 lines instead of 2"):
        load(study)


@pytest.mark.parametrize("name", ["index.jsonl", "choices.jsonl", "plan.parquet", "study.json"])
def test_a_folder_or_other_lines_in_place_of_a_file_are_damage(study, name):
    """A folder in place of a file, or the lines of another file, raise one line, and the next start continues."""
    path = study / name
    other = (study / ("index.jsonl" if name == "choices.jsonl" else "choices.jsonl")).read_bytes()
    for change in (lambda: path.mkdir(), lambda: path.write_bytes(other)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        change()
        with pytest.raises(DamagedRecordsError, match=f"^{path}: "):
            load(study)
        assert damaged_records(study)
        with RecordWriter(study) as writer:
            writer.declare({"schema_version": 2, "name": "s"})
            writer.plan([])
        assert len(load(study).all_trials)


def test_an_unreadable_file_is_not_set_aside(study, monkeypatch):
    """A file that the operating system refuses to read is not damaged: a start raises one line, and moves nothing."""
    load(study)
    read, mapped = Path.read_bytes, pa.memory_map
    for name in ("index.jsonl", "choices.jsonl", "plan.parquet", "trials.parquet"):

        def deny(path, read=read, name=name):
            if Path(path).name == name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return read(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", deny)
            patch.setattr(pa, "memory_map", partial(deny, read=mapped))
            with pytest.raises(UserError, match=f"{name}: cannot be read: Permission denied; .*chmod"), RecordWriter(study):
                pass
        assert not (study / "damaged").exists()
    assert len(load(study).all_trials)
