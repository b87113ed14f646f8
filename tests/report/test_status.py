"""The status of a study, from records as the driver writes them."""

import json
import re
import socket
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from segsweep.records import load
from segsweep.records.driver_status import ENDED, FINISHED, INTERRUPTED, RUNNING, STARTING, DriverStatus, WorkerInfo
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.writer import RecordWriter
from segsweep.report.status import Counts, Failure, StudyStatus, read_status, state_of, status_of
from segsweep.report.status_text import news, short_names, status_lines

CELLS = ["source=a freeze=none", "source=b freeze=none", "source=c freeze=none"]
DRIVER = DriverStatus("n1", 7, "python sweeps/s.py --demo", "/home/me", 1000.0, 1720.0, 9, RUNNING)


def planned(trial: str, cell: str, phase: str = "tune") -> dict[str, Any]:
    return {"trial_id": trial, "cell": cell, "phase": phase, "status": "not_run", "seed": 0, "epochs": 8, "learning_rate": 0.1}


PLAN = [
    *(planned(f"t{number}", CELLS[0]) for number in range(4)),
    *(planned(f"c{number}-undecided", CELLS[0], "confirm") for number in range(2)),
    planned("shared", CELLS[1]),
    planned("d0-undecided", CELLS[1], "confirm"),
    planned("shared", CELLS[2]),
    planned("u0", CELLS[2]),
    planned("e0-undecided", CELLS[2], "confirm"),
]


def begin(writer: RecordWriter) -> None:
    writer.declare({"schema_version": SCHEMA_VERSION, "name": "s", "cells": CELLS, "seeds": 2, "compare": [], "tune": {}})
    writer.plan(PLAN, ["s0", "s1", "s2"])


def start(writer: RecordWriter, row: dict[str, Any], epochs: int = 0) -> str:
    writer.start("trials", row["trial_id"], {**row, "study": "s"})
    writer.facts(row["trial_id"], {"device": "cpu x1"})
    for number in range(1, epochs + 1):
        values = {"epoch": number, "val_iou": number / 10, "seconds": 2.0, "images_per_second": 50.0}
        writer.epoch(row["trial_id"], values)
    return str(row["trial_id"])


def write(writer: RecordWriter) -> None:
    """Write an unfinished study: of the first cell, one trial is done, one failed, one runs and one was interrupted."""
    begin(writer)
    writer.end(start(writer, PLAN[0], 1), "finished", {"val_iou": 0.4})
    writer.end(start(writer, PLAN[1]), "failed", {"error": "loss is nan (traceback: s/errors/t1.txt)"})
    start(writer, PLAN[2], 3)
    writer.end(start(writer, PLAN[3]), "interrupted", {"error": "its worker died"})
    writer.end(start(writer, PLAN[6]), "stopped", {"val_iou": 0.2})
    writer.end(start(writer, PLAN[9]), "failed", {"error": "loss is nan (traceback: s/errors/u0.txt)"})
    writer.choose(CELLS[1], {"chosen": "shared", "confirm": ["d0"], "at_edge": []})
    writer.choose(CELLS[2], {"chosen": None, "confirm": [], "at_edge": [], "reason": "no setting could be chosen"})
    for stage in ("s0", "s1"):
        settings = json.dumps({"epochs": 5})
        columns = {"study": "s", "stage_id": stage, "stage": "supervised:x", "model": "unet", "settings": settings}
        writer.start("stages", stage, columns)
    writer.end("s0", "finished", {})
    writer.epoch("s1", {"epoch": 2, "seconds": 3.0, "images_per_second": 20.0})


@pytest.fixture
def halfway(tmp_path: Path) -> StudyStatus:
    """The status of an unfinished study, while its driver is alive."""
    with RecordWriter(tmp_path / "s") as writer:
        write(writer)
        busy = (WorkerInfo("n2", "cpu x1", "t2"), WorkerInfo("n3", "cpu x1", "s1"), WorkerInfo(None, None, "t9"))
        driver = replace(DRIVER, workers=3, runs_on="3 workers of cpu x1", busy=busy, trials_per_hour=1234.5, seconds_left=5400.0)
        driver.write(tmp_path / "s")
        return read_status(tmp_path / "s")


def test_cells_count_done_running_waiting_and_failed_trials(halfway: StudyStatus) -> None:
    """In the study's order; a trial that two cells share counts in both, and runs that a cell cannot have count as failed."""
    assert [cell.cell for cell in halfway.cells] == CELLS
    assert [cell.trials for cell in halfway.cells] == [Counts(6, 1, 1, 3, 1), Counts(2, 1, 0, 1, 0), Counts(3, 1, 0, 0, 2)]
    assert [cell.best_val_iou for cell in halfway.cells] == [0.4, 0.2, 0.2]
    assert halfway.trials == Counts(11, 3, 1, 4, 3)
    assert halfway.stages == Counts(3, 1, 1, 1, 0)
    assert halfway.state == RUNNING


def test_each_reason_is_listed_once(halfway: StudyStatus) -> None:
    """With its number of occurrences, whichever traceback belongs to it."""
    expected = (Failure("loss is nan", 2, CELLS[0]), Failure("no setting could be chosen", 1, "confirmed runs"))
    assert halfway.failures == expected


def test_running_tasks_have_their_epoch_and_worker(halfway: StudyStatus) -> None:
    """Stages come first; the worker's machine is that of the driver's status."""
    stage, trial = halfway.running
    assert (stage.kind, stage.epoch, stage.epochs, stage.machine) == ("stage", 2, 5, "n3")
    assert (trial.kind, trial.epoch, trial.epochs, trial.val_iou, trial.machine) == ("trial", 3, 8, 0.3, "n2")
    assert trial.name == "tune source=a freeze=none lr=0.1 seed=0"
    assert (trial.seconds, halfway.images_per_second) == (6.0, 70.0)


def test_the_lines_are_readable(halfway: StudyStatus) -> None:
    """No line is wider than requested, and all numbers are there, in words."""
    lines = status_lines(halfway, 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "trials   3 of 11 done, 1 running, 4 waiting, 3 failed" in lines
    assert "stages   1 of 3 done, 1 running, 1 waiting" in lines
    assert "pace     1,230 trials/h, 70 images/s; about 90 min left, ends about " in text
    assert "workers  3 workers of cpu x1; busy: 1 on n2, 1 on n3; starting: 1" in lines
    assert re.search(r"^source=a +1/6 +1 +3 +1 +0.400$", text, re.MULTILINE)
    assert "failed   2 times: loss is nan (source=a freeze=none)" in lines
    shown = status_lines(halfway, 80, most_cells=1)
    assert any(line.startswith(CELLS[0]) for line in shown)
    assert "and 2 more cells" in shown


def test_only_changes_are_logged(halfway: StudyStatus) -> None:
    """A log gets each line once: neither the time left nor the age is a change; one more epoch and one more trial are."""
    assert len(news(None, halfway)) == len(set(news(None, halfway))) > 8
    assert halfway.driver is not None
    later = replace(halfway, age_seconds=99.0, driver=replace(halfway.driver, seconds_left=1.0, updated_at=2000.0, revision=10))
    assert news(halfway, later) == []
    stage, trial = halfway.running
    assert news(halfway, replace(halfway, running=(stage, replace(trial, epoch=4, val_iou=0.5)))) == [
        "running  tune source=a freeze=none lr=0.1 seed=0: epoch 4/8, val IoU 0.500 on n2 cpu x1"
    ]
    assert news(halfway, replace(halfway, state=FINISHED))[0].startswith("s: finished, ")


@pytest.mark.parametrize(
    ("driver", "alive", "left", "state"),
    [
        (DRIVER, True, 3, "running"),
        (replace(DRIVER, state=STARTING), True, 3, "starting"),
        (replace(DRIVER, waiting_for="a machine with 1 GPU"), True, 3, "waiting"),
        (DRIVER, False, 3, "crashed"),
        (replace(DRIVER, state=INTERRUPTED), False, 3, "interrupted"),
        (replace(DRIVER, state=ENDED, reason="the disk is gone"), False, 3, "ended"),
        (replace(DRIVER, state=FINISHED), False, 0, "finished"),
        (None, True, 3, "running"),
        (None, False, 3, "interrupted"),
        (None, False, 0, "finished"),
    ],
)
def test_the_state_is_that_of_the_driver_unless_it_is_gone(
    driver: DriverStatus | None, alive: bool, left: int, state: str
) -> None:
    """A driver that was alive at its last status and is gone has crashed; without a status, the remaining work decides."""
    assert state_of(driver, alive, left) == state


@pytest.mark.parametrize("state", [INTERRUPTED, ENDED, RUNNING])
def test_an_ended_study_shows_how_to_continue(tmp_path: Path, state: str) -> None:
    """The command is on its own line, unwrapped, however narrow the terminal is, with its folder; nothing runs any more."""
    with RecordWriter(tmp_path / "s") as writer:
        write(writer)
    command = f"python sweeps/s.py --data {'x' * 90}"
    replace(DRIVER, state=state, command=command, reason="the disk is gone" if state == ENDED else None).write(tmp_path / "s")
    status = status_of(load(tmp_path / "s"), replace(DRIVER, state=state, command=command), alive=False)
    lines = status_lines(status, 60)
    assert [line.strip() for line in lines if command in line] == [command]
    assert any("in /home/me" in line for line in lines)
    assert status.running == ()
    assert (status.trials.running, status.trials.waiting) == (0, 5)


def test_a_job_of_ray_is_submitted_again(tmp_path: Path) -> None:
    """The folder to which Ray copied its files no longer exists, so it is not named."""
    with RecordWriter(tmp_path / "s") as writer:
        write(writer)
    folder = "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1"
    text = "\n".join(status_lines(status_of(load(tmp_path / "s"), replace(DRIVER, folder=folder), alive=False), 100))
    assert "continue by submitting the same job again" in text
    assert folder not in text


def test_the_status_of_an_earlier_driver_is_ignored(tmp_path: Path) -> None:
    """While a driver is alive that has not written yet, the last status of an earlier driver does not count."""
    with RecordWriter(tmp_path / "s") as writer:
        write(writer)
        replace(DRIVER, state=INTERRUPTED).write(tmp_path / "s")
        status = read_status(tmp_path / "s")
    assert (status.state, status.driver) == (RUNNING, None)


def test_a_start_without_records_has_a_status(tmp_path: Path) -> None:
    """While a start waits for machines before anything is recorded, the status shows it."""
    (tmp_path / "s").mkdir()
    replace(DRIVER, state=ENDED, reason="no machine with a GPU came").write(tmp_path / "s")
    status = read_status(tmp_path / "s")
    assert (status.study, status.state, status.trials.planned) == ("s", ENDED, 0)
    assert "no machine with a GPU came" in status_lines(status, 100)[0]


def test_another_machines_clock_is_not_compared(tmp_path: Path) -> None:
    """The age of a status is shown only on the driver's machine; elsewhere the time is given by its clock."""
    with RecordWriter(tmp_path / "s") as writer:
        write(writer)
        status = status_of(load(tmp_path / "s"), DRIVER, alive=True)
        assert status.age_seconds is None
        assert "by its clock" in status_lines(status, 200)[0]
        here = replace(DRIVER, host=socket.gethostname(), updated_at=time.time() - 3)
        line = status_lines(status_of(load(tmp_path / "s"), here, alive=True), 200)[0]
        assert 3 <= int(re.search(r"as of (\d+) s ago", line)[1]) <= time.time() - here.updated_at + 1


def test_short_names_omit_what_all_cells_share(halfway: StudyStatus) -> None:
    """`freeze=none` is in every name, so the table omits it; a single cell keeps its name."""
    assert short_names(halfway.cells) == ["source=a", "source=b", "source=c"]
    assert short_names(halfway.cells[:1]) == [CELLS[0]]


def test_a_study_finished_by_an_earlier_version_has_its_status(finished: Path) -> None:
    """Records without a status file are counted in the same way; the numbers are those of the table of trials."""
    records = load(finished / "runs" / "tiny")
    status = status_of(records, None, alive=False)
    assert status.state == FINISHED
    assert status.trials == Counts(16, 16)
    assert status.stages == Counts(1, 1)
    best = records.trials.groupby("cell")["val_iou"].max()
    assert {cell.cell: cell.best_val_iou for cell in status.cells} == pytest.approx(dict(best))


def test_the_page_on_records_lists_every_field(halfway: StudyStatus) -> None:
    """`--json` prints exactly the fields that the table in `segsweep/records/README.md` lists, all of them plain JSON."""
    row = json.loads(json.dumps(halfway.as_row(), allow_nan=False))
    page = (Path(__file__).parents[2] / "segsweep" / "records" / "README.md").read_text(encoding="utf-8")
    section = page.split("\n## Status as JSON\n")[1].split("\n## ")[0]
    table = section[section.index("| field | meaning |") :]
    listed = {
        name for line in table.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert set(row) == listed
    assert {each.name for each in fields(Counts)} == set(row["trials"])
