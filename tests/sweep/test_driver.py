"""The driver: its handling of messages, of dead workers, and of stages that another run builds."""

import errno
import time
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console
from studies import built_in, nothing_built, plan_of, small_study
from text_lines import unwrapped

from segsweep.config import Choice
from segsweep.errors import OutageError
from segsweep.records import load
from segsweep.records.writer import RecordWriter
from segsweep.report.cells import summarise
from segsweep.report.text import table_text
from segsweep.store import folder
from segsweep.store.faults import SPACE, Fault
from segsweep.store.folder import FolderStore
from segsweep.sweep import outage
from segsweep.sweep.budget import Limits
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.declaration import declaration
from segsweep.sweep.driver import DEATHS, Driver
from segsweep.sweep.execute import failure_of
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.outage import Outage
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import LiveView, PlainView, View
from segsweep.sweep.rounds import Budget
from segsweep.sweep.rows import planned_rows
from segsweep.sweep.simulated import Clock
from segsweep.sweep.tally import EarlierProgress
from segsweep.tasks.messages import Blocked, Body, BuiltElsewhere, Failed, Finished, Lost, Message, Started
from segsweep.tasks.stage_task import STAGE, StageTask
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TRIAL
from segsweep.training.loop import EpochResult
from segsweep.training.metrics import Scores


@pytest.fixture(params=[PlainView, LiveView])
def view(request: pytest.FixtureRequest):
    """Both displays, on a console in memory."""
    with Path("/dev/null").open("w") as nowhere:
        shown = request.param(Console(file=nowhere, force_terminal=True))
        yield shown
        shown.close()


@pytest.fixture
def driver(tmp_path: Path, view: View):
    """A driver of the small study with open records."""
    study = small_study()
    plan = plan_of(study)
    with RecordWriter(tmp_path / "records") as writer:
        identity = writer.declare(declaration(plan_of(study)))
        writer.plan(planned_rows(Planner(plan, nothing_built)))
        view.begin(plan, EarlierProgress(stages_missing=1), 10.0)
        store = FolderStore(tmp_path / "store")
        yield Driver(Planner(plan, nothing_built), writer, store, view, Outage(store, writer.folder, view.notify), identity)


def next_task(driver: Driver) -> Task | None:
    """Return the task that can start now."""
    assignment = driver.next_task()
    return assignment.task if assignment else None


def handle(driver: Driver, task: Task, body: Body) -> bool:
    """Pass a message of a task's only record to the driver."""
    return driver.handle(task, Message(task.identity, body))


def test_the_task_of_a_dead_worker_is_rescheduled(driver: Driver) -> None:
    """The same task is assigned again, and its record states that it was interrupted, and why."""
    stage = next_task(driver)
    driver.begin(stage)
    handle(driver, stage, Started({"device": "cpu x1"}))
    driver.died(stage, "killed")
    (row,) = load(driver.writer.folder).stages.to_dict("records")
    assert row["status"] == "interrupted"
    assert "its worker died: killed" in row["error"]
    assert next_task(driver) == stage


def test_a_task_that_kills_its_workers_fails(driver: Driver) -> None:
    """After `DEATHS` deaths a task is recorded as failed with the last reason, and its dependents are skipped."""
    for _ in range(DEATHS):
        stage = next_task(driver)
        assert stage.kind == STAGE
        driver.begin(stage)
        driver.died(stage, "the machine ran out of memory")
    records = load(driver.writer.folder)
    assert list(records.stages["status"]) == ["failed"]
    assert list(records.stages["starts"]) == [DEATHS]
    assert (
        f"its worker died {DEATHS} times without completing a new epoch; last cause: the machine ran out of memory"
        in records.stages["error"].iloc[0]
    )
    assert records.trials["error"].str.contains("ran out of memory").sum() == 8


def test_deaths_of_machines_never_fail_a_task(driver: Driver) -> None:
    """A task whose workers die with their machines is rescheduled each time, and no death is counted."""
    for _ in range(3 * DEATHS):
        stage = next_task(driver)
        assert stage is not None
        driver.begin(stage)
        driver.died(stage, "its node has died.", counts=False)
    for _ in range(DEATHS - 1):
        driver.died(next_task(driver) or stage, "killed")
    assert list(load(driver.writer.folder).stages["status"]) == ["interrupted"]


def test_a_new_epoch_resets_the_count_of_deaths(driver: Driver) -> None:
    """A trial that completes a new epoch between its workers' deaths never fails; a repeated epoch does not reset the count."""
    driver.planner.report = lambda *_: Verdict.CONTINUE  # type: ignore[method-assign]
    next_task(driver)  # the stage
    trial = next_task(driver)
    assert trial.kind == TRIAL

    def reach(epoch: int) -> EpochResult:
        return EpochResult(epoch, epoch, 0.5, 0.5, Scores(*[0.5] * 8, (0.5, 0.5)), 0.5, 1e-3, 1.0, 1.0, best=True)

    def status() -> str:
        return load(driver.writer.folder).trials.set_index("trial_id").loc[trial.identity, "status"]

    for epoch in range(1, 2 * DEATHS):
        driver.begin(trial)
        handle(driver, trial, reach(epoch))
        driver.died(trial, "killed")
        assert status() == "interrupted"
    for _ in range(DEATHS - 1):
        driver.begin(trial)
        handle(driver, trial, reach(epoch))  # again, from the last checkpoint
        assert status() == "running"
        driver.died(trial, "killed")
    assert status() == "failed"


def test_a_stopped_trial_that_is_rerun_starts_from_scratch(driver: Driver) -> None:
    """A rerun of a stopped trial discards earlier epochs; a later start of it, after a death, resumes."""
    driver.planner.report = lambda *_: Verdict.STOP  # type: ignore[method-assign]
    stage = next_task(driver)
    trial = next_task(driver)
    assert stage.kind == STAGE
    assert trial.kind == TRIAL

    def starts() -> list[int]:
        trials = load(driver.writer.folder).trials.set_index("trial_id")
        return [int(trials.loc[trial.identity, "starts"]), len(load(driver.writer.folder).epochs)]

    result = EpochResult(1, 1, 0.5, 0.5, Scores(*[0.5] * 8, (0.5, 0.5)), 0.5, 1e-3, 1.0, 1.0, best=True)
    driver.begin(trial)
    assert not handle(driver, trial, result)
    assert starts() == [1, 1]
    driver.begin(trial)
    handle(driver, trial, Started({"device": "cpu x1"}))
    assert starts() == [1, 0]
    driver.died(trial, "killed")
    driver.begin(trial)
    handle(driver, trial, Started({"device": "cpu x1"}))
    assert starts() == [2, 0]


def test_a_worker_that_dies_before_its_task_begins_leaves_no_record(driver: Driver) -> None:
    """A task whose process cannot start is rescheduled without a record, until that happens too often."""
    stage = next_task(driver)
    driver.died(stage, "the process is replaced after an error on its GPU")
    assert load(driver.writer.folder).stages.empty
    assert next_task(driver) == stage
    for _ in range(DEATHS - 1):
        driver.died(stage, "No module named 'segsweep'")
    assert list(load(driver.writer.folder).stages["status"]) == ["failed"]


def test_a_stage_that_is_built_elsewhere_leaves_no_record(driver: Driver) -> None:
    """A stage that another run builds is rescheduled without a record, and can be assigned again."""
    stage = next_task(driver)
    driver.begin(stage)
    assert not handle(driver, stage, BuiltElsewhere())
    assert load(driver.writer.folder).stages.empty
    assert next_task(driver) == stage


def test_a_task_interrupted_before_its_first_message_leaves_no_record(driver: Driver) -> None:
    """A task that the user interrupts before its first message counts as not started."""
    stage = next_task(driver)
    driver.begin(stage)
    driver.interrupt(stage)
    assert load(driver.writer.folder).stages.empty


def test_a_failure_keeps_its_traceback(driver: Driver) -> None:
    """The traceback of an unexpected error is written to a file, which the reason names."""
    stage = next_task(driver)
    driver.begin(stage)
    assert not handle(driver, stage, failure_of(RuntimeError("CUDA error: an illegal memory access\nand advice")))
    reason = load(driver.writer.folder).stages["error"].iloc[0]
    assert reason.startswith("RuntimeError: CUDA error: an illegal memory access (traceback: ")
    file = driver.writer.folder.parent / reason.removesuffix(")").split("traceback: ")[1]
    assert "and advice" in file.read_text()


def test_records_keep_their_id(tmp_path: Path) -> None:
    """A study's records keep their id over all starts; records in another folder have another id."""
    identities = []
    for name in ("one", "one", "other"):
        with RecordWriter(tmp_path / name) as writer:
            identities.append(writer.declare(declaration(plan_of(small_study()))))
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 4), ({"trials_per_cell": None}, 8), ({"tune": {"learning_rate": Choice(1e-3, 1e-2)}}, 2), ({"tune": {}}, 0)],
)
def test_the_declaration_has_the_number_of_tuning_trials(changes: dict[str, object], count: int) -> None:
    """The recorded declaration has the number of tuning trials per cell, even if the study does not set it."""
    assert declaration(plan_of(small_study(**changes)))["trials_per_cell"] == count


def test_a_cell_without_choice_keeps_its_reason(driver: Driver) -> None:
    """If every tuning trial of a cell fails, the records and the table state that no setting was chosen, and why."""
    for work in islice(iter(lambda: next_task(driver), None), 100):
        driver.begin(work)
        if work.kind == STAGE:
            handle(driver, work, Failed("out of memory", None))
        else:
            handle(driver, work, Failed(f"loss is nan at {work.spec.settings.learning_rate}", None))
    records = load(driver.writer.folder)
    first = records.trials["learning_rate"].iloc[0]
    failed = f"no setting could be chosen: 4 of 4 tuning trials failed; the first: loss is nan at {first}"
    missing = "no setting could be chosen: 4 of 4 tuning trials had no source; the first: source stage supervised:voc2012 failed"
    reasons = {cell: choice["reason"] for cell, choice in records.choices.items()}
    assert [reason.startswith(failed if "random" in cell else missing) for cell, reason in reasons.items()] == [True] * 4
    summary = summarise(records)
    assert summary["seeds"].tolist() == [0] * 4
    assert [note == reasons[cell] for cell, note in zip(summary["cell"], summary["note"], strict=True)] == [True] * 4
    assert failed in unwrapped(table_text(records))


def block(driver: Driver, work: Task) -> None:
    """Report that a fault of the environment blocks a running task."""
    driver.begin(work)
    handle(driver, work, Started({"device": "cpu x1"}))
    assert not handle(driver, work, Blocked(Fault("No space left on device: /store", SPACE)))


def test_a_blocked_task_is_postponed_and_keeps_its_checkpoints(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that the environment blocks is interrupted, not failed; no task is assigned before a file can be written again."""
    full = [True]

    def write(*_: object) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    for place in (outage, folder):
        monkeypatch.setattr(place, "write_and_remove", write)
    monkeypatch.setattr(outage, "FIRST_SECONDS", 0.01)
    stage = next_task(driver)
    trial = next_task(driver)
    assert trial.kind == TRIAL
    kept = driver.store.checkpoints(trial.checkpoints_id(driver.records_id)).open() / "last.safetensors"
    kept.touch()
    block(driver, trial)
    records = load(driver.writer.folder)
    row = records.trials.set_index("trial_id").loc[trial.identity]
    assert (row["status"], row["error"]) == ("interrupted", "No space left on device: /store; free some space there")
    assert kept.exists()
    time.sleep(0.05)
    assert next_task(driver) is None
    assert not driver.planner.done
    full[0] = False
    time.sleep(0.2)
    assert next_task(driver) == trial
    assert stage != trial


def test_a_blocked_task_costs_no_device_time(driver: Driver) -> None:
    """A night with a full disk does not use up a budget: time counts from the begin of a task to the fault."""
    clock = Clock()
    ledger = Ledger(Limits(1000.0), now=clock, passed=clock)
    driver.planner = Planner(driver.planner.plan, nothing_built, budget=Budget(ledger))
    stage = next_task(driver)
    driver.begin(stage)
    clock.seconds = 7.0
    assert not handle(driver, stage, Blocked(Fault("No space left on device: /store", SPACE)))
    clock.seconds = 30_000.0
    assert ledger.spent == 7.0
    assert ledger.committed == 0.0


def test_other_tasks_run_while_one_is_blocked(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file of one trial cannot be read but the disk works, the other trials run first."""
    monkeypatch.setattr(outage, "FIRST_SECONDS", 0.05)
    next_task(driver)
    trial = next_task(driver)
    for _ in range(4):
        block(driver, trial)
    time.sleep(0.5)
    given = [next_task(driver) for _ in range(3)]
    assert None not in given
    driver._postponed = [(time.monotonic() + 5, trial)]
    assert trial not in [next_task(driver) for _ in range(3)]


def test_a_death_on_a_full_disk_does_not_count(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies during an outage, or names it as the reason, has its task rescheduled without limit."""
    monkeypatch.setattr(outage, "FIRST_SECONDS", 0.001)
    for reason in ("OSError: [Errno 28] No space left on device", *["killed"] * (2 * DEATHS)):
        if reason == "killed":
            monkeypatch.setattr(type(driver.outage), "fault", property(lambda _: Fault("/store is gone", "bring it back")))
        driver.died(next_task(driver) or StageTask(driver.planner.plan.stages()[0]), reason)
    assert "failed" not in set(load(driver.writer.folder).stages["status"])


def test_a_lost_stage_is_rebuilt_before_its_trial(driver: Driver) -> None:
    """A trial whose stage is lost is interrupted and waits; the stage is assigned first, and its record restarts."""
    content: dict[str, str] = {}
    driver.planner = Planner(plan_of(small_study()), built_in(content))
    stage = next_task(driver)
    assert stage.kind == STAGE
    key = stage.spec.key(None)
    content[key] = "content"
    driver.begin(stage)
    outcome = Finished({"epochs": 7, "key": key, "content_hash": "content"})
    handle(driver, stage, outcome)
    trial = next(work for work in iter(lambda: next_task(driver), None) if work.spec.stage is not None)
    driver.begin(trial)
    del content[key]
    assert not handle(driver, trial, Lost("weights", key, "is missing"))
    again = next_task(driver)
    assert again == stage
    assert all(work.spec.stage is None for work in iter(lambda: next_task(driver), None))
    driver.begin(again)
    handle(driver, again, Started({"device": "cpu x1"}))
    (row,) = load(driver.writer.folder).stages.to_dict("records")
    assert (row["status"], row["starts"]) == ("running", 1)
    content[key] = "content"
    handle(driver, again, outcome)
    assert trial in iter(lambda: next_task(driver), None)


def test_lost_data_is_prepared_before_its_trial_is_assigned(driver: Driver) -> None:
    """The driver prepares lost data again, and the trial is the next task."""
    prepared: list[bool] = []
    driver.prepare = lambda: prepared.append(True)
    next_task(driver)
    trial = next_task(driver)
    driver.begin(trial)
    handle(driver, trial, Lost("data", "key", "is damaged"))
    assert prepared == [True]
    assert next_task(driver) == trial
    handle(driver, trial, Lost("data", "key", "is damaged"))
    handle(driver, trial, Lost("data", "key", "is damaged"))
    with pytest.raises(
        OutageError, match="data key in the store was lost again after 3 rebuilds: is damaged; check the store's disk"
    ):
        handle(driver, trial, Lost("data", "key", "is damaged"))


def test_a_damaged_checkpoint_is_reported(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that restarts from scratch reports it in the display and in its record, which discards earlier epochs."""
    said: list[str] = []
    monkeypatch.setattr(type(driver.view), "notify", lambda _, text: said.append(text))
    next_task(driver)
    trial = next_task(driver)
    result = EpochResult(1, 1, 0.5, 0.5, Scores(*[0.5] * 8, (0.5, 0.5)), 0.5, 1e-3, 1.0, 1.0, best=True)
    driver.begin(trial)
    handle(driver, trial, result)
    driver.died(trial, "killed")
    driver.begin(trial)
    handle(driver, trial, Started({"device": "cpu x1", "note": "started from scratch: checkpoint c is cut short"}))
    records = load(driver.writer.folder)
    assert records.trials.set_index("trial_id").loc[trial.identity, "note"] == "started from scratch: checkpoint c is cut short"
    assert records.epochs.empty
    assert any(text.endswith("started from scratch: checkpoint c is cut short") for text in said)
