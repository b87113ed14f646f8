"""Tasks that pause at a result, keep their checkpoint, free their worker, and resume later."""

from collections.abc import Callable

import pytest
from studies import built_in, nothing_built, plan_of, small_study

from segsweep.config import PerCellASHA
from segsweep.config.keep import Reading
from segsweep.config.work import Trial
from segsweep.sweep import early_stopping
from segsweep.sweep.budget import RESERVE, Limits
from segsweep.sweep.decisions import Verdict
from segsweep.sweep.early_stopping import CellCurves
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.planner import Planner
from segsweep.sweep.rounds import Budget
from segsweep.sweep.simulated import Clock, Simulation
from segsweep.tasks.task import Task

HALF = 2  # of four epochs


class Halving:
    """Stop all but the best two trials of a cell at half of their epochs; each pauses there until all have reached it."""

    def __init__(self, settings: PerCellASHA) -> None:
        self.settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Pause a trial at half of its epochs until four are there, then continue the best two."""
        if epoch != HALF:
            return Verdict.CONTINUE
        there = {name: curve[HALF].value for name, curve in cell.curves.items() if HALF in curve}
        if len(there) < 4:
            return Verdict.PAUSE
        return Verdict.CONTINUE if sum(value > there[trial] for value in there.values()) < 2 else Verdict.STOP


class Waiting:
    """Pause every trial after every epoch, and never continue one."""

    def __init__(self, settings: PerCellASHA) -> None:
        self.settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Pause."""
        return Verdict.PAUSE


class Disagreeing:
    """Pause trials after the first epoch; then one of the cells that share them would stop all, another continues them."""

    def __init__(self, settings: PerCellASHA) -> None:
        self.settings = settings
        self.seen: list[CellCurves] = []

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Stop for the cell that is judged first, if more than one trial has reached the epoch."""
        self.seen += [] if any(cell is each for each in self.seen) else [cell]
        return Verdict.STOP if cell is self.seen[0] and len(cell.curves) > 1 else Verdict.PAUSE


class Demoting:
    """Stop a trial at its first epoch if it is no longer the best there; pause it after the second while it is alone."""

    def __init__(self, settings: PerCellASHA) -> None:
        self.settings = settings

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Compare at the first epoch, pause at the second."""
        if epoch == 1 and any(curve[1].value > cell.curves[trial][1].value for curve in cell.curves.values()):
            return Verdict.STOP
        return Verdict.PAUSE if epoch == HALF and len(cell.curves) == 1 else Verdict.CONTINUE


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Replace ASHA by a rule."""
    return lambda rule: monkeypatch.setattr(early_stopping, "RULES", {PerCellASHA: rule})


def by_rate(trial: Trial, epoch: int) -> float:
    """Invent a validation IoU that differs by rate, and grows."""
    return trial.settings.learning_rate + 0.001 * epoch


def simulate(workers: int) -> tuple[Simulation, Planner]:
    """Return a finished simulation of the small study with the rule that the test has set."""
    built: dict[str, str] = {}
    planner = Planner(plan_of(small_study(early_stopping=PerCellASHA())), built_in(built))
    simulation = Simulation(planner, by_rate, workers, built=built)
    simulation.run()
    return simulation, planner


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_trials_wait_for_each_other_and_the_best_continue(workers: int, use: Callable[[type], None]) -> None:
    """On any number of workers the same trials finish and the same are stopped, which asynchronous halving cannot guarantee."""
    use(Halving)
    _, planner = simulate(workers)
    assert planner.done
    for cell in planner.plan.cells:
        rates = {trial.trial_id: trial.settings.learning_rate for trial in cell.tuning}
        best = set(sorted(rates, key=lambda trial: -rates[trial])[:2])
        ends = planner.ended(cell)
        assert {trial for trial in rates if ends[trial].status == "finished"} == best
        assert {trial for trial in rates if ends[trial].status == "stopped"} == set(rates) - best
        assert planner.choices[cell.key].trial.trial_id in best


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_an_epoch_is_never_run_twice(workers: int, use: Callable[[type], None]) -> None:
    """A paused trial resumes with its next epoch, however often it is paused."""
    use(Waiting)
    simulation, planner = simulate(workers)
    epochs = [(event.task.identity, event.epoch) for event in simulation.events if event.what == "epoch"]
    assert len(epochs) == len(set(epochs)) == 4 * (4 + 2) * 4
    assert planner.done
    assert any(event.what == "paused" for event in simulation.events)


def test_a_pause_costs_nothing(use: Callable[[type], None]) -> None:
    """A budget for one run of every task, and its reserve, suffices for a study whose trials pause after every epoch."""
    use(Waiting)
    built: dict[str, str] = {}
    clock = Clock()
    ledger = Ledger(Limits(RESERVE * (10 + 4 * (4 + 2) * 4)), durations, now=clock, passed=clock)
    study = plan_of(small_study(early_stopping=PerCellASHA()))
    planner = Planner(study, built_in(built), price=durations, budget=Budget(ledger, workers=3))
    Simulation(planner, by_rate, workers=3, built=built, clock=clock).run()
    assert all(len(planner.ended(cell)) == 4 + 2 for cell in planner.plan.cells)
    assert ledger.spent == 10 + 4 * (4 + 2) * 4


def durations(task: Task) -> float:
    """Return the duration of a task in the simulation: 10 s for a stage, 4 s for a trial of four epochs."""
    return 10.0 if task.results is None else 4.0


def test_a_paused_trial_leaves_its_worker_to_another(use: Callable[[type], None]) -> None:
    """One worker begins all four trials of a cell before any of them continues beyond the rung."""
    use(Halving)
    simulation, planner = simulate(workers=1)
    cell = planner.plan.cells[0]
    tuning = {trial.trial_id for trial in cell.tuning}
    first_past = next(n for n, event in enumerate(simulation.events) if event.task.identity in tuning and event.epoch > HALF)
    started = {event.task.identity for event in simulation.events[:first_past] if event.what == "start"}
    assert tuning <= started


def paused_planner(**changes: object) -> tuple[Planner, list[Task]]:
    """Return a planner of cells without stages, and its first two tasks, which run."""
    planner = Planner(plan_of(small_study(early_stopping=PerCellASHA(), **changes)), nothing_built)
    return planner, [planner.next().task, planner.next().task]


def report(planner: Planner, task: Task, epoch: int, value: float) -> Verdict:
    """Report an epoch of a trial."""
    return planner.report(task, task.identity, epoch, Reading(value))


def test_a_shared_trial_stops_only_if_all_its_cells_stop_it(use: Callable[[type], None]) -> None:
    """A paused tuning trial that one cell would stop stays paused while another cell that shares it continues it."""
    use(Disagreeing)
    planner, (first, second) = paused_planner(compare={"test_size": ["image_px", "original"]})
    assert report(planner, first, 1, 0.5) is Verdict.PAUSE
    assert report(planner, second, 1, 0.6) is Verdict.PAUSE
    assert not planner.decisions


def test_a_resumed_trial_is_not_judged_twice(use: Callable[[type], None]) -> None:
    """It repeats the epochs before its pause and continues beyond them, although it would be stopped there by now."""
    use(Demoting)
    planner, (first, second) = paused_planner(compare={"source": ["random"]})
    assert report(planner, first, 1, 0.5) is Verdict.CONTINUE
    assert report(planner, first, 2, 0.5) is Verdict.PAUSE
    assert report(planner, second, 1, 0.6) is Verdict.CONTINUE
    assert first in [each.task for each in iter(planner.next, None)]
    assert [report(planner, first, epoch, 0.5) for epoch in (1, 2)] == [Verdict.CONTINUE] * 2
