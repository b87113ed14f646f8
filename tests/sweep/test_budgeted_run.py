"""Whole studies with a budget in one process; every task takes ten seconds of a clock that the test sets."""

import json
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from contracts.runner import measured

import segsweep
from segsweep.cli.study_script import main
from segsweep.config import Study
from segsweep.errors import UserError
from segsweep.records import Records
from segsweep.report.page.study_page import study_page
from segsweep.report.status import read_status
from segsweep.report.status_text import status_lines
from segsweep.report.text import table_text
from segsweep.sweep import budget_start
from segsweep.sweep.cost import CostModel
from segsweep.sweep.driver import Driver
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.options import Options
from segsweep.sweep.simulated import Clock
from segsweep.sweep.speeds import Speeds
from segsweep.tasks.task import Task

SECONDS = 10.0
TASKS = 25  # two cells with eight tuning trials and three seeds, a stage, and two scores
LEFT_OUT = (
    "5 of 8 tuning points and 2 to 3 of 3 seeds per cell; 7 runs not started. "
    "The same command with a larger budget, or without it, goes on."
)


class TickingLedger(Ledger):
    """A ledger whose tasks all take ten seconds."""

    def end(self, task: Task, *, failed: bool = False) -> None:
        """Move the clock to the task's end, then note it."""
        CLOCK.seconds += SECONDS
        super().end(task, failed=failed)


CLOCK = Clock()


def spent(records: Records, options: Options) -> float:  # noqa: ARG001
    """Return the time of all recorded tasks."""
    tables = (records.all_trials, records.all_stages, records.all_scores)
    return SECONDS * float(sum((table["starts"].fillna(0) > 0).sum() for table in tables))


@pytest.fixture(autouse=True)
def ten_seconds_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict and measure ten seconds for every task."""
    CLOCK.seconds = 0.0
    monkeypatch.setattr(CostModel, "seconds", lambda self, task: SECONDS)  # noqa: ARG005
    monkeypatch.setattr(budget_start, "Ledger", partial(TickingLedger, now=CLOCK, passed=CLOCK))
    monkeypatch.setattr(budget_start, "spent_seconds", spent)
    monkeypatch.setattr(Speeds, "free_share", 1.0)  # whatever else this machine does


@pytest.fixture
def study(tiny_study: Study) -> Study:
    """A study of two cells with eight tuning trials and three seeds each."""
    return replace(tiny_study, compare={**tiny_study.grids[0], "freeze": ["none"]}, trials_per_cell=8, seeds=3)


def run(study: Study, folder: Path, tasks: float | None = None, **options: object) -> Records:
    """Run a study with a budget for a number of tasks."""
    hours = None if tasks is None else tasks * SECONDS / 3600
    places = {"out": folder / "runs", "store": folder / "store"}
    return segsweep.run(study, **places, runner="inline", device="cpu", threads=1, budget_hours=hours, **options)


def counts(records: Records) -> dict[str, list[int]]:
    """Return the numbers of finished trials of every cell, by phase."""
    done = records.trials[records.trials["status"] == "finished"]
    return {str(phase): sorted(of["cell"].value_counts()) for phase, of in done.groupby("phase")}


def test_a_budget_ends_a_study_that_continues_to_the_full_result(study: Study, tmp_path: Path) -> None:
    """A budget for 18 of 25 tasks gives both cells five points and two seeds, and one of them a third seed. The table, the page
    and the status say so. The same command again starts nothing. Without a budget the study ends with the numbers of one
    that never had any."""
    records = run(study, tmp_path / "budgeted", 18)
    assert counts(records) == {"tune": [5, 5], "confirm": [2, 3]}
    assert CLOCK.seconds == 18 * SECONDS
    assert records.trials.loc[records.trials["status"] == "not_run", "phase"].value_counts().to_dict() == {
        "tune": 6,
        "confirm": 1,
    }
    assert LEFT_OUT in " ".join(table_text(records).split())
    assert LEFT_OUT in study_page(records)
    status = read_status(records.folder)
    assert status.state == "finished"
    assert status.budget is not None
    assert status.budget.endswith(LEFT_OUT)
    assert LEFT_OUT in " ".join(" ".join(status_lines(status, 80)).split())
    assert json.loads(json.dumps(status.as_row()))["budget"] == status.budget

    again = run(study, tmp_path / "budgeted", 18)
    assert counts(again) == counts(records)
    assert (again.all_trials["starts"].dropna() == 1).all()
    assert again.choices == records.choices

    full, continued = run(study, tmp_path / "full"), run(study, tmp_path / "budgeted")
    assert counts(continued) == {"tune": [8, 8], "confirm": [3, 3]}
    assert (continued.all_trials["starts"] == 1).all()
    pd.testing.assert_frame_equal(measured(continued), measured(full), check_exact=True)
    assert "not started" not in table_text(continued)
    assert read_status(continued.folder).budget is None


def test_an_interrupted_start_goes_on_within_its_budget(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the twelfth task: the same command repeats no ended trial, and ends with what one start would have run."""
    begin, begun = Driver.begin, list[str]()

    def interrupting(driver: Driver, task: Task) -> None:
        begun.append(task.identity)
        if len(begun) == 12:
            raise KeyboardInterrupt
        begin(driver, task)

    monkeypatch.setattr(Driver, "begin", interrupting)
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path, 18)
    records = run(study, tmp_path, 18)
    assert counts(records) == {"tune": [5, 5], "confirm": [2, 3]}
    assert [identity for identity, number in Counter(begun).items() if number > 1] == [begun[11]]


@pytest.mark.parametrize("earlier", [0, 18])
def test_a_larger_budget_adds_points_and_says_what_becomes_of_confirmed_runs(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], earlier: int
) -> None:
    """A plan and a run say that a cell may choose another setting. Runs of the earlier choice stay in all_trials."""
    if earlier:
        run(study, tmp_path, earlier)
    capsys.readouterr()
    records = run(study, tmp_path, 60)
    said = "earlier starts chose settings from 5 of 8 tuning points, this one chooses from 8: where another setting wins"
    assert (said in capsys.readouterr().err) == bool(earlier)
    assert counts(records) == {"tune": [8, 8], "confirm": [3, 3]}
    assert {choice["points"] for choice in records.choices.values()} == {8}


def arguments_for(folder: Path) -> list[str]:
    """Return the command line that runs a study inline in a folder."""
    return f"--out {folder}/runs --store {folder}/store --runner inline --device cpu --threads 1".split()


@pytest.mark.parametrize("mode", [["--check"], ["--plan"], []])
def test_too_small_limits_are_refused_alike(
    study: Study, tmp_path: Path, mode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan, a rehearsal and a run refuse a budget and a deadline for less than one point and two seeds, with the least
    budget. That budget is then accepted."""
    places = arguments_for(tmp_path)

    def call(*limit: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(study, arguments=[*places, *mode, *limit])
        return int(end.value.code or 0), " ".join(capsys.readouterr().err.split())

    code, said = call("--budget-hours", "0.015")
    assert code == 2
    work = "the least study (1 of 8 tuning points and 2 of 3 seeds in each of 2 cells, and 1 stage)"
    assert f"--budget-hours 0.015: {work} needs about 0.028 device-hours, with a reserve of 10 %; give --budget-hours" in said
    assert not (tmp_path / "runs" / "tiny" / "study.json").exists()
    if mode == ["--plan"]:
        least = re.search(r"give --budget-hours (\S+) or more", said)
        assert least is not None
        assert call("--budget-hours", least[1])[0] == 0


def test_a_deadline_that_is_too_near_is_refused(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message states how long the least study takes, and until when."""
    monkeypatch.setattr(budget_start, "Ledger", Ledger)
    with pytest.raises(UserError, match=r"--deadline 20..-..-.. ..:..: the least study \(1 of 8 .*\) takes about .* on 1 worker"):
        run(study, tmp_path, deadline="+1min")


def test_a_plan_states_what_fits(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a line, and as fields of the JSON object; the predicted time is that of the part that fits."""
    places = arguments_for(tmp_path)

    def plan(*more: str) -> dict[str, object]:
        with pytest.raises(SystemExit):
            main(study, arguments=[*places, "--plan", "--json", *more])
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    assert plan()["budget"] is None
    content = plan("--budget-hours", str(18 * SECONDS / 3600))
    line = "Budget of 0.05 device-hours: 5 of 8 tuning points and 2 of 3 seeds per cell are expected, in 0.047 device-hours"
    assert content["budget"] == {
        "budget_hours": 0.05,
        "deadline": None,
        "used_hours": 0.0,
        "tuning_points": 5,
        "seeds": 2,
        "not_started": 8,
        "line": f"{line}; about 8 runs will not start",
    }
    assert content["seconds"] == 17 * SECONDS
    assert plan("--budget-hours", "1")["budget"]["not_started"] == 0  # type: ignore[index]


def test_without_data_a_plan_says_that_a_budget_is_unknown(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan names absent data instead of refusing; nothing has a price then."""
    absent = replace(study, compare={"source": ["random", "supervised:voc2012"]})
    with pytest.raises(SystemExit) as end:
        main(absent, arguments=["--out", f"{tmp_path}/runs", "--runner", "inline", "--plan", "--budget-hours", "1"])
    assert end.value.code == 0
    assert "Budget of 1 device-hours: what fits is unknown until all data is found" in capsys.readouterr().out


def test_a_busy_machine_makes_every_task_dearer(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets half of a core takes twice as long, so that a budget for the whole study does not fit all of it."""
    monkeypatch.setattr(Speeds, "free_share", 0.5)
    monkeypatch.setattr(budget_start, "Ledger", Ledger)
    with pytest.raises(UserError, match=r"the least study \(1 of 8 tuning points"):
        run(study, tmp_path, 10)
    monkeypatch.setattr(Speeds, "free_share", 1.0)
    assert len(run(study, tmp_path, 10).trials)
