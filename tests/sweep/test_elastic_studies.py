"""Studies whose workers join and leave, on the simulated runner."""

import random
from collections import Counter

import pytest
from studies import built_in, plan_of, small_study

from segsweep.config import PerCellASHA, Study, Trial
from segsweep.sweep.planner import Planner
from segsweep.sweep.simulated import Event, Simulation
from segsweep.tasks.trial_task import TRIAL

Changes = list[tuple[float, int]]


def val_iou(trial: Trial, epoch: int) -> float:
    """Invent a validation IoU that differs by rate and source, and grows."""
    return 0.3 + 0.1 * (trial.settings.source != "random") + 10 * trial.settings.learning_rate + 0.01 * epoch


def simulate(workers: int, changes: Changes, study: Study | None = None) -> tuple[Simulation, Planner]:
    """Return a finished simulation of a study that starts with `workers` workers, and its planner."""
    built: dict[str, str] = {}
    planner = Planner(plan_of(study or small_study()), built_in(built))
    simulation = Simulation(planner, val_iou, workers, changes, built=built)
    simulation.run()
    return simulation, planner


def busy(events: list[Event]) -> list[tuple[float, int]]:
    """Return the number of running tasks after each event."""
    running: set[str] = set()
    found = []
    for event in events:
        if event.what == "start":
            running.add(event.task.identity)
        elif event.what != "epoch":
            running.discard(event.task.identity)
        found.append((event.seconds, len(running)))
    return found


def epochs_of(events: list[Event]) -> Counter[tuple[str, int]]:
    """Return how often each epoch of each trial ended."""
    return Counter((event.task.identity, event.epoch) for event in events if event.what == "epoch")


def test_a_study_that_starts_without_workers_waits_for_them_and_uses_them_at_once() -> None:
    """No task starts before the first worker joins; each new worker gets a task in the same second, and the study ends sooner."""
    simulation, planner = simulate(0, [(100.0, 1), (130.0, 4)])
    assert planner.done
    assert simulation.events[0].seconds == 100.0
    counts = dict(busy(simulation.events))
    assert counts[130.0] == 4
    alone, _ = simulate(0, [(100.0, 1)])
    assert simulation.events[-1].seconds < alone.events[-1].seconds


def test_the_tasks_of_workers_that_leave_resume_from_their_last_epoch() -> None:
    """When three of four workers leave, three tasks are requeued; later they resume, and no epoch runs twice."""
    simulation, planner = simulate(4, [(3.5, 1), (60.0, 4)])
    died = [event for event in simulation.events if event.what == "died"]
    assert [event.seconds for event in died] == [3.5] * 3
    assert planner.done
    assert max(running for seconds, running in busy(simulation.events) if 3.5 < seconds < 60) == 1
    again = [event for event in died if event.task.kind == TRIAL and event.epoch > 0]
    assert again
    for event in again:
        following = [each.epoch for each in simulation.events if each.task == event.task and each.seconds > event.seconds]
        assert following[:2] == [0, event.epoch + 1]  # its start, then the next epoch
    assert set(epochs_of(simulation.events).values()) == {1}


@pytest.mark.parametrize("seed", range(12))
def test_joining_and_leaving_workers_do_not_change_the_answer(seed: int) -> None:
    """With random numbers of workers at random times, every trial ends once, and each cell chooses the same setting."""
    chance = random.Random(seed)
    changes = sorted((chance.uniform(0, 150), chance.choice([0, 0, 1, 2, 5, 30])) for _ in range(chance.randint(3, 25)))
    simulation, planner = simulate(chance.choice([0, 1, 8]), [*changes, (151.0, 2)])
    assert planner.done
    ends = Counter(event.task.identity for event in simulation.events if event.what in ("finished", "failed", "stopped"))
    assert set(ends.values()) == {1}
    assert set(epochs_of(simulation.events).values()) == {1}
    _, undisturbed = simulate(4, [])
    assert {key: choice.trial.trial_id for key, choice in planner.choices.items()} == {
        key: choice.trial.trial_id for key, choice in undisturbed.choices.items()
    }
    limits = dict([(0.0, 10**9), *changes, (151.0, 2)])
    for (seconds, running), event in zip(busy(simulation.events), simulation.events, strict=True):
        assert event.what == "died" or running <= limits[max(since for since in limits if since <= seconds)]


@pytest.mark.parametrize("seed", range(4))
def test_early_stopping_works_with_joining_and_leaving_workers(seed: int) -> None:
    """With a stopping rule, every cell still ends with its confirmed runs, whichever workers leave."""
    chance = random.Random(seed)
    changes = [(chance.uniform(0, 100), chance.choice([0, 1, 6])) for _ in range(20)]
    study = small_study(early_stopping=PerCellASHA(1, 2), trials_per_cell=6)
    _, planner = simulate(3, [*sorted(changes), (101.0, 3)], study)
    assert planner.done
    assert len(planner.choices) == len(planner.plan.cells)
    for cell in planner.plan.cells:
        assert {planner.ended(cell)[trial.trial_id].status for trial in planner.choices[cell.key].confirm} == {"finished"}
