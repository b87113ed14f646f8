"""The schedule, through a planner: artifacts that are lost while tasks run, and tasks that are requeued after a failure."""

import pytest
from studies import built_in, plan_of, small_study

from segsweep.sweep.budget import Limits
from segsweep.sweep.decisions import Skipped
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.planner import Planner
from segsweep.sweep.rounds import Budget
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.task import Assignment
from segsweep.tasks.trial_task import TRIAL


def chained() -> tuple[dict[str, str], Planner, Assignment, Assignment]:
    """Return the store and a planner in which a trial runs from the first stage of a chain while its second stage is built."""
    built: dict[str, str] = {}
    sources = ["supervised:voc2012", "supervised:voc2012+supervised:coco"]
    planner = Planner(plan_of(small_study(compare={"source": sources})), built_in(built))
    first = planner.next()
    built[first.task.spec.key(None)] = "content"
    planner.task_ended(first.task)
    second, trial = planner.next(), planner.next()
    assert (second.task.kind, trial.task.kind) == (STAGE, TRIAL)
    return built, planner, second, trial


@pytest.mark.parametrize("content", ["content", "other content"])
def test_a_stage_waits_for_a_parent_that_is_lost_while_it_is_built(content: str) -> None:
    """It is not rebuilt if the parent has the same content afterwards; it is rebuilt once if the content differs."""
    built, planner, second, trial = chained()
    (key,) = second.keys
    built.clear()
    planner.recheck_artifacts()
    planner.requeue(trial.task)
    built[second.task.spec.key("content")] = "second"
    planner.task_ended(second.task)
    first = planner.next()
    assert first.task == second.task.needs[0]
    assert planner.next() is None
    built[key] = content
    planner.task_ended(first.task)
    after = [each.task for each in iter(planner.next, None)]
    assert after.count(second.task) == (content != "content")


def test_a_requeued_task_whose_stage_failed_is_skipped() -> None:
    """A lost stage that cannot be rebuilt is not retried for each of the tasks that used it."""
    built, planner, second, trial = chained()
    other = planner.next()
    built.clear()
    planner.recheck_artifacts()
    planner.requeue(trial.task)
    first = planner.next()
    planner.task_ended(first.task, "broken")
    planner.requeue(other.task)
    planner.requeue(second.task)
    assert planner.next() is None
    assert planner.done
    assert {each.task.identity for each in planner.decisions if isinstance(each, Skipped)} == {
        each.trial_id for cell in planner.plan.cells for each in cell.tuning
    }
    assert all(choice.reason for choice in planner.unchosen.values())


def budget_of(seconds: float) -> Budget:
    """Return a budget in device-seconds; every task is predicted to take one second, and takes no time."""
    return Budget(Ledger(Limits(seconds), passed=lambda: 0.0))


def test_a_task_over_budget_starts_after_another_has_left_its_worker() -> None:
    """A budget for one trial allows one at a time; one that dies, or ends sooner than predicted, leaves its time to another."""
    planner = Planner(plan_of(small_study()), built_in({"": ""}), budget=budget_of(1.0))
    first = planner.next()
    assert planner.next() is None
    assert not planner.done
    planner.requeue(first.task)
    assert planner.next() == first
    assert planner.next() is None
    planner.task_ended(first.task, "no space")
    assert planner.next() is not None


def test_a_task_over_budget_waits_for_its_lost_stage() -> None:
    """A trial over budget does not start in place of others while its lost stage is to be rebuilt."""
    built: dict[str, str] = {}
    study = small_study(compare={"source": ["supervised:voc2012"]})
    planner = Planner(plan_of(study), built_in(built), budget=budget_of(2.0))
    stage = planner.next()
    built[stage.task.spec.key(None)] = "content"
    planner.task_ended(stage.task)
    given = [planner.next()]
    assert planner.next() is None
    built.clear()
    planner.recheck_artifacts()
    for each in given:
        planner.requeue(each.task)
    again = planner.next()
    assert again.task == stage.task
    assert planner.next() is None
