"""New kinds of tasks: each is one file and one row of the table of kinds."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from studies import nothing_built, plan_of, small_study
from toy_tasks import SEVERAL_KIND, TOY_KIND, ToyTask

from segsweep.context import ExecutionContext
from segsweep.records import Records, load, sql
from segsweep.records.writer import RecordWriter
from segsweep.store.opening import open_store
from segsweep.sweep.declaration import declaration
from segsweep.sweep.driver import Driver
from segsweep.sweep.inline import InlineRunner
from segsweep.sweep.outage import Outage
from segsweep.sweep.planner import Planner
from segsweep.sweep.progress import PlainView
from segsweep.sweep.tally import EarlierProgress
from segsweep.tasks.kinds import KINDS
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.task import Assignment, Task
from segsweep.training.device import Device


class OnlyAdded(Planner):
    """A planner that returns no task of its plan."""

    def next(self) -> Assignment | None:
        """Return the next task that a test has added."""
        while (assignment := super().next()) is not None:
            if assignment.task.kind in ("toy", "several"):
                return assignment
        return None

    @property
    def done(self) -> bool:
        """Whether the added tasks have ended."""
        return not any(task.kind in ("toy", "several") for task in self._schedule)


@pytest.fixture(autouse=True)
def _known_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the rows of the toy kinds."""
    monkeypatch.setitem(KINDS, "toy", TOY_KIND)
    monkeypatch.setitem(KINDS, "several", SEVERAL_KIND)


def run(folder: Path, *tasks: Task) -> tuple[Records, str]:
    """Run added tasks with the inline runner in a study without other work; return the records and the output."""
    study, printed = small_study(), io.StringIO()
    view = PlainView(Console(file=printed, width=200))
    store = open_store(folder / "store")
    with RecordWriter(folder / "records") as writer:
        records_id = writer.declare(declaration(plan_of(study)))
        planner = OnlyAdded(plan_of(study), nothing_built)
        for task in tasks:
            planner.add(task)
        driver = Driver(planner, writer, store, view, Outage(store, writer.folder, view.notify), records_id)
        driver.write_plan()
        view.begin(planner.plan, EarlierProgress(), 1.0)
        device = Device("cpu", 1)
        InlineRunner(device, 1, "one").run(driver, ExecutionContext(store, device, records_id))
    return load(folder / "records"), printed.getvalue()


def test_a_kind_of_task_is_one_file_and_one_row(tmp_path: Path) -> None:
    """A task of a new kind is scheduled, executed, shown and recorded; its table can be read, queried with SQL, and stored in
    parts."""
    records, printed = run(tmp_path, ToyTask("three", {"three": 3}), ToyTask("two", {"two": 2}))
    toys = records.table("toys").set_index("toy_id")
    assert toys["total"].to_dict() == {"three": 6, "two": 3}
    assert toys["limit"].to_dict() == {"three": 3, "two": 2}
    assert set(toys["status"]) == {"finished"}
    assert records.epochs["trial_id"].tolist() == ["three"] * 3 + ["two"] * 2
    assert sql("select sum(total) as total from toys", records)["total"].tolist() == [9]
    assert records.table("all_toys").shape == records.table("toys").shape
    assert (tmp_path / "records" / "parts" / "000001" / "toys.parquet").is_file()
    assert "counting toy three" in printed
    assert "toy two: finished total 3" in printed


def test_a_task_can_write_several_records(tmp_path: Path) -> None:
    """Each of its records has its own epochs and its own end; one that fails does not affect the others."""
    limits = {"one": 1, "four": 4, "bad": 3, "two": 2}
    task = ToyTask("many", limits, kind="several", fails=frozenset({"bad"}))
    records, _ = run(tmp_path, task)
    toys = records.table("toys").set_index("toy_id")
    assert toys["status"].to_dict() == {"one": "finished", "four": "finished", "bad": "failed", "two": "finished"}
    assert toys["total"].dropna().to_dict() == {"one": 1, "four": 10, "two": 3}
    assert toys["error"].dropna().to_dict() == {"bad": "cannot count"}
    epochs = records.epochs.groupby("trial_id")["epoch"].agg(list).to_dict()
    assert epochs == {"one": [1], "four": [1, 2, 3, 4], "bad": [1], "two": [1, 2]}


def test_a_task_of_a_new_kind_can_need_a_stage() -> None:
    """A task that needs an artifact waits until the task that makes it has ended, and is skipped if that failed."""
    (stage,) = (task for task in Planner(plan_of(small_study()), nothing_built)._schedule if task.kind == STAGE)
    planner = Planner(plan_of(small_study()), nothing_built)
    planner.add(ToyTask("needs", {"needs": 1}, needs=(stage,)))
    given = [assignment.task for _ in range(30) if (assignment := planner.next()) is not None]
    assert stage in given
    assert "needs" not in {task.identity for task in given}
    planner.task_ended(stage, "no space")
    assert {each.task.identity for each in planner.decisions if hasattr(each, "reason")} >= {"needs"}
