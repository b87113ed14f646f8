"""The ledger: measured device time, expected times, and what fits the limits."""

import pytest
from studies import plan_of, small_study

from segsweep.sweep.budget import Limits
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.simulated import Clock
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TrialTask

PLAN = plan_of(small_study())
TUNING = [TrialTask(trial) for trial in PLAN.cells[0].tuning]
CONFIRMED = TrialTask(PLAN.cells[0].confirm(PLAN.cells[0].settings)[0])


def ledger_of(limits: Limits, clock: Clock, workers: int = 1, spent: float = 0.0) -> Ledger:
    """Return a ledger in which every task is predicted to take 10 s of device time."""
    return Ledger(limits, lambda _: 10.0, lambda _: workers, spent, clock, clock)


def run(ledger: Ledger, clock: Clock, task: Task, seconds: float, *, failed: bool = False) -> None:
    """Run a task that takes `seconds`."""
    ledger.start(task)
    clock.seconds += seconds
    ledger.end(task, failed=failed)


def test_time_is_measured_on_all_workers_of_a_task() -> None:
    """The device time of a task is its time multiplied by its workers; earlier starts and unfinished attempts count."""
    clock = Clock()
    ledger = ledger_of(Limits(100.0), clock, workers=2, spent=7.0)
    run(ledger, clock, TUNING[0], 5.0)
    ledger.start(TUNING[1])
    clock.seconds += 1.0
    assert ledger.spent == 7 + 10 + 2
    ledger.leave(TUNING[1])
    clock.seconds += 50.0
    assert ledger.spent == 7 + 10 + 2


def test_time_before_a_worker_begins_is_free() -> None:
    """A worker that starts slowly costs nothing."""
    clock = Clock()
    ledger = ledger_of(Limits(100.0), clock)
    ledger.start(TUNING[0])
    clock.seconds += 30.0
    ledger.start(TUNING[0])
    clock.seconds += 4.0
    assert ledger.spent == 4.0


def test_measured_times_correct_the_predictions_of_their_kind() -> None:
    """Tuning trials that take half of their time halve what further ones are expected to take, not what confirmed runs take."""
    clock = Clock()
    ledger = ledger_of(Limits(), clock)
    run(ledger, clock, TUNING[0], 5.0)
    assert ledger.expected(TUNING[1]) == pytest.approx(7.5)  # the prediction counts as a second trial
    for _ in range(50):
        run(ledger, clock, TUNING[0], 5.0)
    assert ledger.expected(TUNING[1]) == pytest.approx(5.0, rel=0.05)
    assert ledger.expected(CONFIRMED) == 10.0


def test_a_failed_task_corrects_nothing() -> None:
    """A trial that fails at once says nothing on how long others take, but its time counts."""
    clock = Clock()
    ledger = ledger_of(Limits(), clock)
    run(ledger, clock, TUNING[0], 0.1, failed=True)
    assert ledger.expected(TUNING[1]) == 10.0
    assert ledger.spent == pytest.approx(0.1)


def test_a_running_task_keeps_its_share_of_the_budget() -> None:
    """A task fits only beside what running tasks still need; one that is overdue counts with its time so far."""
    clock = Clock()
    ledger = ledger_of(Limits(25.0), clock)
    ledger.start(TUNING[0])
    assert ledger.fits(TUNING[1])
    clock.seconds = 14.0
    assert ledger.fits(TUNING[1])
    clock.seconds = 16.0
    assert not ledger.fits(TUNING[1])
    ledger.end(TUNING[0])
    assert not ledger.fits(TUNING[1])


@pytest.mark.parametrize(("workers", "last"), [(1, 90.0), (2, 95.0)])
def test_nothing_starts_that_is_expected_to_end_after_the_deadline(workers: int, last: float) -> None:
    """A task on several workers ends sooner."""
    clock = Clock(last)
    ledger = ledger_of(Limits(ends_at=100.0), clock, workers)
    assert ledger.fits(TUNING[0])
    clock.seconds = last + 0.1
    assert not ledger.fits(TUNING[0])


def test_a_set_of_tasks_fits_a_deadline_if_its_workers_can_share_it() -> None:
    """Ten tasks of 10 s end on 5 workers after 20 s, and the bound on any order allows for a last one of 8 s."""
    ledger = ledger_of(Limits(ends_at=28.0), Clock())
    assert ledger.allows(100.0, 10.0, workers=5)
    assert not ledger.allows(100.0, 10.0, workers=4)
    assert not ledger.allows(100.0, 10.5, workers=5)
