"""The order in which tasks start."""

from studies import built_in, plan_of, small_study

from segsweep.config.work import Trial
from segsweep.sweep.planner import Planner
from segsweep.sweep.ready_queue import ReadyQueue, Scheduled
from segsweep.tasks.trial_task import TrialTask

LONG_SOURCE = "supervised:voc2012+supervised:coco+supervised:pets"


def trial_tasks() -> list[TrialTask]:
    """Return the tuning trials of two cells, four each."""
    cells = plan_of(small_study(compare={"source": ["random"], "freeze": ["none", "encoder"]})).cells
    return [TrialTask(trial) for cell in cells for trial in cell.tuning]


def order(queue: ReadyQueue, seconds_left: float) -> list[str]:
    """Return the ids of all tasks of a queue in the order in which it returns them."""
    found = []
    while (ready := queue.pop(seconds_left)) is not None:
        found.append(ready.task.identity)
    return found


def test_cells_come_in_their_order_and_trials_in_theirs() -> None:
    """Without shares, the first cell's trials all start before the second's, whatever the order in which they were added."""
    tasks = trial_tasks()
    queue = ReadyQueue({"first": 0, "second": 1})
    for number in (4, 0, 5, 1, 6, 2, 7, 3):
        queue.add(Scheduled(tasks[number], 1.0, 2.0, "first" if number < 4 else "second"))
    assert order(queue, 1e6) == [task.identity for task in tasks]


def test_a_requeued_task_has_its_old_place() -> None:
    """A trial that was assigned and requeued starts before those that were added after it."""
    tasks = trial_tasks()[:3]
    queue = ReadyQueue({"cell": 0})
    for task in tasks:
        queue.add(Scheduled(task, 1.0, 2.0, "cell"))
    first = queue.pop(1e6)
    assert first is not None
    queue.add(first)
    assert order(queue, 1e6) == [task.identity for task in tasks]


def test_a_long_path_starts_in_time() -> None:
    """A trial whose path is as long as the remaining time per worker starts before its cell's turn; otherwise not."""
    tasks = trial_tasks()
    for seconds_left, first in ((1000.0, tasks[0]), (100.0, tasks[7])):
        queue = ReadyQueue({"first": 0, "second": 1})
        for number, task in enumerate(tasks):
            queue.add(Scheduled(task, 1.0, 95.0 if number == 7 else 2.0, "first" if number < 4 else "second"))
        ready = queue.pop(seconds_left)
        assert ready is not None
        assert ready.task == first


def test_shares_divide_the_time_among_cells() -> None:
    """With shares of one and three, the second cell has used three times the time of the first whenever a trial of it starts."""
    tasks = trial_tasks()
    queue = ReadyQueue({"first": 0, "second": 1}, {"first": 1.0, "second": 3.0})
    for number, task in enumerate(tasks):
        queue.add(Scheduled(task, 10.0, 20.0, "first" if number < 4 else "second"))
    given = [ready.cell for _ in range(5) if (ready := queue.pop(1e6)) is not None]
    assert given == ["first", "second", "second", "second", "first"]


def test_the_longest_chain_of_stages_starts_first() -> None:
    """Of two chains, the one that needs more time starts first, although the study names it last."""
    built: dict[str, str] = {}
    study = small_study(compare={"source": ["supervised:ade20k", LONG_SOURCE]})
    planner = Planner(plan_of(study), built_in(built), price=lambda task: 10.0 if task.results is None else 1.0)
    first = planner.next()
    assert first is not None
    assert first.task.spec.name == "supervised:voc2012"


def same_iou(trial: Trial, epoch: int) -> float:  # noqa: ARG001
    """Return the same validation IoU for every trial."""
    return 0.5
