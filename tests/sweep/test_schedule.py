"""The schedule, through a planner: artifacts that are lost while tasks run, and tasks that are requeued after a failure."""

import pytest
from studies import built_in, plan_of, small_study

from segsweep.sweep.decisions import Skipped
from segsweep.sweep.planner import Planner
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
