"""The schedule, through a planner: artifacts that are lost while tasks run, and tasks that come back after a failure."""

import pytest
from studies import built_in, plan_of, small_study

from segsweep.sweep.decisions import Skipped
from segsweep.sweep.planner import Planner
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.task import Assignment
from segsweep.tasks.trial_task import TRIAL


def chained() -> tuple[dict[str, str], Planner, Assignment, Assignment]:
    """Return a planner of which a trial runs from the first stage of a chain while its second stage is built, and the store."""
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
def test_a_stage_whose_beginning_is_lost_while_it_is_built_waits_for_it(content: str) -> None:
    """It is not built again where the beginning has the same content when it is back, and once more where it has another."""
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


def test_a_task_that_comes_back_after_its_stage_failed_is_skipped() -> None:
    """A stage that is lost and cannot be built again is not tried once more for each of the tasks that had it in use."""
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
