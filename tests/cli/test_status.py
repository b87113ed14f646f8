"""`segsweep status` and `segsweep studies`, for a study that runs in another process, is killed, has ended, or is damaged."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segsweep.cli import status
from segsweep.cli.commands import command_line
from segsweep.errors import UserError
from segsweep.records import load
from segsweep.records.driver_status import DriverStatus
from segsweep.records.writer import RecordWriter
from segsweep.report.status import CRASHED, StudyStatus

SCRIPT = """
from segsweep import Study, Target, main

study = Study(
    name="long",
    target=Target("folder:{folder}"),
    compare={{"freeze": ["none", "encoder"]}},
    fixed={{"architecture": "unet4", "image_px": 32, "epochs": 5000, "batch_size": 8, "learning_rate": 1e-3}},
    seeds=1,
)
if __name__ == "__main__":
    main(study)
"""
COMMAND = "import sys; from segsweep.cli.commands import command_line; command_line(sys.argv[1:])"


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    try:
        command_line(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@contextmanager
def process(*command: str | Path, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run a command in another process, and kill it at the end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, *command], **{**pipes, **options}) as started:
        try:
            yield started
        finally:
            started.kill()


def following(study: Path, *options: str) -> Any:
    """Run `segsweep status STUDY --follow` in another process."""
    return process("-c", COMMAND, "status", str(study), "--follow", *options)


def seen(study: Path, capsys: pytest.CaptureFixture[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first status, as `--json` prints it, that fulfils a condition."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if call("status", str(study), "--json") == 0:
            row: dict[str, Any] = json.loads(capsys.readouterr().out)
            if wanted(row):
                return row
        time.sleep(0.2)
    raise AssertionError(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_study_is_seen_from_other_processes_until_it_is_killed(
    tmp_path: Path, ellipses: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Running tasks are shown with place and speed; `--follow` ends with 130 on Ctrl-C, and with 1 once the driver is killed.

    The status then shows that the driver crashed, and how to continue; the log has its start.
    """
    (tmp_path / "long.py").write_text(SCRIPT.format(folder=ellipses))
    study, script = tmp_path / "runs" / "long", str(tmp_path / "long.py")
    command = [script, "--runner", "inline", "--threads", "1"]
    with process(*command, cwd=tmp_path, stderr=subprocess.DEVNULL) as driver:
        row = seen(study, capsys, lambda row: bool(row["running"]) and row["running"][0]["epoch"] > 1 and row["busy_workers"])
        assert (row["state"], row["pid"], row["workers"]) == ("running", driver.pid, 1)
        assert row["trials"] == {"planned": 2, "done": 0, "running": 1, "waiting": 1, "failed": 0}
        (trial,) = row["running"]
        assert (trial["epochs"], trial["machine"], trial["device"]) == (5000, os.uname().nodename, "cpu x1")
        assert trial["images_per_second"] > 0
        with following(study) as ended_by_user, following(study, "--json") as follower:
            assert "long: running on" in ended_by_user.stdout.readline()
            ended_by_user.send_signal(signal.SIGINT)
            assert ended_by_user.wait(60) == 130
            assert ended_by_user.stderr.read() == "interrupted\n"
            first = json.loads(follower.stdout.readline())
            driver.kill()
            driver.wait()
            *_, last = map(json.loads, follower.stdout.read().splitlines())
            assert follower.wait(60) == 1
    assert (first["state"], last["state"], last["running"]) == ("running", CRASHED, [])
    assert call("status", str(study)) == 0
    assert f"{shlex.join([sys.executable, *command])}" in capsys.readouterr().out
    log = (study / "log.txt").read_text()
    assert f"process {driver.pid}" in log
    assert "2 trials" in log
    assert "finished" not in log


def test_status_of_a_finished_study(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By folder or by name, with and without `--follow`, which ends at once; nothing is written."""
    monkeypatch.chdir(finished)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    for arguments in (["runs/tiny"], ["tiny"]):
        assert call("status", *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("tiny: finished, ")
        assert lines[1:3] == ["trials   16 of 16 done", "stages   1 of 1 done"]
        assert sum(" 4/4 " in line for line in lines) == 4
    assert call("status", "tiny", "--follow") == 0
    assert "trials   16 of 16 done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_status_counts_planned_trials(copy_of_finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials that are no longer planned, such as those of an earlier method, are not counted; their number is printed."""
    study = copy_of_finished / "runs" / "tiny"
    planned = load(study).trials
    tuning = planned[planned["phase"] == "tune"].drop_duplicates("cell", keep="last")
    with RecordWriter(study) as writer:
        writer.plan(tuning[["trial_id", "cell", "phase"]].to_dict("records"))
    assert call("status", str(study)) == 0
    printed = capsys.readouterr().out
    assert "trials   4 of 4 done; not counted: 12 trials that are no longer planned" in " ".join(printed.split("\n         "))
    assert sum(" 1/1 " in line for line in printed.splitlines()) == 4


@pytest.mark.parametrize("as_json", [True, False])
def test_follow_prints_only_changes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """Of four reads, three are printed: the second shows only that time passes. A failed read in between is repeated.

    The exit code depends on how the study ended.
    """
    driver = DriverStatus("elsewhere", 1, "python s.py", "/", 0.0, 100.0, state="running", seconds_left=50.0)
    one = StudyStatus("s", "runs/s", "running", driver)
    later = replace(one, driver=replace(driver, updated_at=110.0, revision=2, seconds_left=40.0))
    waiting = replace(later, state="waiting", driver=replace(later.driver, waiting_for="a machine with 1 GPU"))
    looks = iter([one, later, UserError("runs/s: cannot be read"), waiting, replace(waiting, state="ended")])

    def look() -> StudyStatus:
        found = next(looks)
        if isinstance(found, UserError):
            raise found
        return found

    monkeypatch.setattr(status, "_look", lambda study, console: look)  # noqa: ARG005
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # noqa: ARG005
    assert call("status", "s", "--follow", *(["--json"] if as_json else [])) == 1
    lines = capsys.readouterr().out.splitlines()
    if as_json:
        assert [json.loads(line)["state"] for line in lines] == ["running", "waiting", "ended"]
    else:
        words = [line.split(maxsplit=1)[1] for line in lines]
        assert next(word for word in words if word.startswith("s: ")).startswith("s: running on elsewhere")
        assert sum(word == "waiting  a machine with 1 GPU" for word in words) == 1
        assert len(words) == len(set(words))


def test_a_study_that_is_not_there_or_damaged_is_one_line(
    copy_of_finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both exit with 2; `studies` lists the damaged study with the others, and exits with 1."""
    assert call("status", str(tmp_path / "none")) == 2
    assert "holds no study (no such folder)" in capsys.readouterr().err
    study = copy_of_finished / "runs" / "tiny"
    other = copy_of_finished / "runs" / "other"
    other.mkdir()
    (other / "study.json").write_text("{")
    assert call("status", str(other)) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert call("studies", str(study.parent)) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in printed[1:3]] == [["other", "damaged"], ["tiny", "finished", "16/16"]]
    assert "no study can be read from it" in printed[3]
    assert call("studies", str(study.parent), "--json") == 1
    damaged, whole = json.loads(capsys.readouterr().out)
    assert damaged["state"] == "damaged"
    assert (whole["study"], whole["state"], whole["trials"]["done"], whole["cells"]) == ("tiny", "finished", 16, 4)
    assert whole["best_val_iou"] == pytest.approx(load(study).trials["val_iou"].max())


def test_studies_of_a_folder_without_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For an empty folder a line states that it has none; a missing folder is a mistake, with the remedy."""
    assert call("studies", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{tmp_path}/ holds no study\n"
    assert call("studies", str(tmp_path / "none")) == 2
    assert "no such folder; name the folder that --out named for the studies" in capsys.readouterr().err
