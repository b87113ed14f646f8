"""Studies with a budget: what they run is fair, keeps to the limits, and is a beginning of the full study."""

from dataclasses import replace

import pytest
from budgeted import TRIAL_SECONDS, BudgetedRun, full_price, grid, price

from segsweep.config.study import Study
from segsweep.sweep.budget import RESERVE, Limits, Share

GRID = grid()
PRICE = full_price(GRID)


def accepts(run: BudgetedRun) -> bool:
    """Return whether the least share fits the budget with its reserve; otherwise a study is refused before its start."""
    rounds = run.planner.rounds
    assert rounds is not None
    return rounds.fits(rounds.least, run.workers, RESERVE)


def differs_by(counts: dict[str, int]) -> int:
    """Return the difference between the largest and the smallest count."""
    return max(counts.values()) - min(counts.values())


def test_the_price_is_that_of_all_stages_and_trials() -> None:
    """The price of the full share is the sum of the durations of all tasks: four stages, and eleven trials for each cell."""
    assert pytest.approx(4 * 400 + 12 * 11 * TRIAL_SECONDS * (0.25 + 0.5 + 1.0)) == PRICE


@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("percent", [10, 30, 40, 50, 60, 80, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_budget_is_shared_fairly_and_kept(percent: int, workers: int, seed: int) -> None:
    """Cells differ by one trial at most and have two seeds; the device time exceeds the budget by less than the error of the
    predictions of those trials that run when it is spent."""
    budget = PRICE * percent / 100
    run = BudgetedRun(GRID, Limits(budget), workers, seed=seed)
    if not accepts(run):
        assert percent <= 30
        return
    run.run()
    assert run.planner.done
    assert differs_by(run.trials("tune")) == 0
    assert differs_by(run.trials("confirm")) <= 1
    assert run.share().points >= 1
    assert run.share().seeds >= 2
    assert run.device_seconds <= budget + workers * 0.3 * 1.3 * TRIAL_SECONDS
    if run.share().seeds < 3:
        assert run.device_seconds >= budget - 1.5 * TRIAL_SECONDS
    if percent == 100:
        assert run.share().points == 8
    print(f"{percent} % on {workers} workers: {run.share()}, {run.device_seconds / budget:.3f} of the budget")


@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("percent", [60, 80, 100])
def test_a_deadline_is_kept(percent: int, workers: int) -> None:
    """Nothing starts that is predicted to end after the deadline, and every cell has two seeds."""
    ends_at = PRICE * percent / 100 / workers
    run = BudgetedRun(GRID, Limits(ends_at=ends_at), workers)
    if not accepts(run):
        assert workers > 1
        return
    run.run()
    assert run.share().points >= 1
    assert run.share().seeds >= 2
    assert differs_by(run.trials("tune")) == 0
    assert differs_by(run.trials("confirm")) <= 1
    for seconds, task in run.started:
        assert seconds + 0.9 * price(task) <= ends_at  # times of ended trials correct predictions by a few per cent
    print(f"{percent} % on {workers} workers: {run.share()}, ends at {run.clock.seconds / ends_at:.3f} of the deadline")


@pytest.mark.parametrize("slowness", [0.5, 1.4])
def test_measured_times_change_what_is_released(slowness: float) -> None:
    """If trials are faster than predicted, cells get more points and seeds; if slower, fewer, and all of them alike."""
    budget = 0.7 * PRICE
    as_predicted = BudgetedRun(GRID, Limits(budget)).run()
    run = BudgetedRun(GRID, Limits(budget), slowness=slowness).run()
    fewer, more = sorted([as_predicted.share(), run.share()], key=lambda share: share.points)
    assert more == (run.share() if slowness < 1 else as_predicted.share())
    assert fewer.points < more.points
    assert differs_by(run.trials("tune")) == 0
    assert differs_by(run.trials("confirm")) <= 1
    assert run.share().seeds >= 2
    assert run.device_seconds <= budget + 2 * TRIAL_SECONDS


@pytest.mark.parametrize("workers", [4, 16])
def test_a_further_point_waits_until_every_cell_has_started_the_ones_before(workers: int) -> None:
    """While sources are built, cells without a source do not run ahead, and tuning does not close before the sources exist."""
    run = BudgetedRun(GRID, Limits(0.9 * PRICE), workers, stage_slowness=3.0).run()
    assert run.share().points >= 5
    begun: dict[str, int] = dict.fromkeys((cell.key for cell in run.planner.plan.cells), 0)
    for _, task in run.started:
        if task.kind == "trial" and task.spec.phase == "tune":
            begun[task.spec.cell] += 1
            assert begun[task.spec.cell] <= max(3, min(begun.values()) + 1)


@pytest.mark.parametrize("workers", [1, 16])
def test_a_point_that_only_some_cells_could_try_decides_nothing(workers: int) -> None:
    """If the trials of the fourth point take eight times as long, the budget ends among them; all cells choose from three."""
    run = BudgetedRun(GRID, Limits(0.75 * PRICE), workers, late_slowness=8.0).run()
    assert differs_by(run.trials("tune")) == 1
    assert len(run.planner.choices) == 36
    assert all(choice.trial.point < 3 for choice in run.planner.choices.values())
    assert differs_by(run.trials("confirm")) <= 1


def test_points_do_not_take_the_time_of_the_last_seeds() -> None:
    """With 87 % of the price, each cell has six points and three seeds; a seventh point would leave cells with two."""
    run = BudgetedRun(GRID, Limits(0.87 * PRICE), error=0.0).run()
    assert run.share() == Share(6, 3)


@pytest.mark.parametrize("workers", [1, 16, 64])
def test_no_cell_gets_a_second_seed_at_the_expense_of_the_first_of_another(workers: int) -> None:
    """Even if confirmed runs take four times as long as predicted, cells differ by one seed at most."""
    run = BudgetedRun(GRID, Limits(0.6 * PRICE), workers, confirm_slowness=4.0).run()
    assert run.share().seeds < 2
    assert max(run.trials("confirm").values()) > 0
    assert differs_by(run.trials("confirm")) <= 1


@pytest.mark.parametrize("percent", [60, 80])
def test_the_same_study_without_a_budget_ends_with_the_full_result(percent: int) -> None:
    """Continuing without a budget repeats no trial, and chooses in every cell what the study chooses that never had one."""
    full = BudgetedRun(GRID, None).run()
    begun = BudgetedRun(GRID, Limits(PRICE * percent / 100)).run()
    done = {task.identity for _, task in begun.started}
    after = BudgetedRun(GRID, None, resume=begun.state(), built=begun.built).run()
    assert not done & {task.identity for _, task in after.started}
    assert after.planner.choices == full.planner.choices
    for cell in after.planner.plan.cells:
        assert after.planner.ended(cell).keys() == full.planner.ended(cell).keys()


def test_the_same_budget_again_starts_nothing() -> None:
    """The device time of earlier starts counts, and settings that were chosen stay chosen."""
    limits = Limits(0.6 * PRICE)
    first = BudgetedRun(GRID, limits).run()
    points = first.share().points
    again = BudgetedRun(GRID, limits, resume=first.state(), spent=first.device_seconds, closed_at=points, built=first.built).run()
    assert again.started == []
    assert again.planner.choices == first.planner.choices
    assert again.share() == first.share()


def test_a_restart_does_not_tune_further_points_because_it_expects_shorter_trials() -> None:
    """Trials were slower than predicted, which the next start does not know: it still keeps to the settings that are chosen."""
    limits = Limits(PRICE)
    whole = BudgetedRun(GRID, limits, slowness=1.7).run()
    points, chosen_at = (
        whole.share().points,
        next(at for at, task in whole.started if getattr(task.spec, "phase", "") == "confirm"),
    )
    first = BudgetedRun(GRID, limits, slowness=1.7).run(until_seconds=chosen_at + 1)
    spent = sum(first.seconds(task) for _, task in first.started)
    again = BudgetedRun(GRID, limits, slowness=1.7, resume=first.state(), spent=spent, closed_at=points, built=first.built).run()
    assert again.share().points == points
    assert again.planner.choices == whole.planner.choices


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_interrupted_run_keeps_to_its_choices(share: float) -> None:
    """Killed at any time and started again, a study repeats no ended trial and gives every cell two seeds within the budget."""
    limits = Limits(0.6 * PRICE)
    first = BudgetedRun(GRID, limits)
    first.run(until_seconds=share * 0.6 * PRICE)
    rounds = first.planner.rounds
    assert rounds is not None
    closed_at = rounds.points if first.planner.choices else None
    spent = sum(first.seconds(task) for _, task in first.started)  # the killed task counts in full
    ended = set(first.state().ended)
    again = BudgetedRun(GRID, limits, resume=first.state(), spent=spent, closed_at=closed_at, built=first.built).run()
    assert not ended & {task.identity for _, task in again.started}
    assert differs_by(again.trials("tune")) == 0
    assert differs_by(again.trials("confirm")) <= 1
    assert again.share().seeds >= 2
    for key, choice in first.planner.choices.items():
        assert again.planner.choices[key] == choice


def test_a_larger_budget_goes_on() -> None:
    """More points may change a choice; the confirmed runs of the earlier choice are then made again for the new one."""
    first = BudgetedRun(GRID, Limits(0.6 * PRICE)).run()
    more = BudgetedRun(GRID, Limits(1.5 * PRICE), resume=first.state(), spent=first.device_seconds, built=first.built).run()
    assert more.share() == Share(8, 3)
    changed = [key for key in first.planner.choices if more.planner.choices[key].settings != first.planner.choices[key].settings]
    assert changed
    assert not {task.identity for _, task in first.started} & {task.identity for _, task in more.started}


def test_a_round_begins_with_the_cells_that_scatter_most() -> None:
    """The third seeds start in the order of the scatter of the first two seeds' validation readings."""
    run = BudgetedRun(grid(trials_per_cell=3), Limits(10 * PRICE), error=0.0).run()
    thirds = [task.spec for _, task in run.started if task.kind == "trial" and task.spec.phase == "confirm"][72:]
    assert {trial.seed for trial in thirds} == {3}
    spreads = [abs(run.val_iou(replace(trial, seed=1), 4) - run.val_iou(replace(trial, seed=2), 4)) for trial in thirds]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > spreads[-1]


@pytest.mark.parametrize(
    "study",
    [
        pytest.param(grid(source_seeds=2, seeds=4), id="source seeds"),
        pytest.param(grid(tune={}, trials_per_cell=None), id="nothing tuned"),
        pytest.param(grid(seeds=1, trials_per_cell=2), id="fewer than the least share"),
        pytest.param(grid(source_trials=3), id="tuned source rates"),
        pytest.param(
            grid(compare={"source": ["random", "supervised:voc2012"]}, target=replace(GRID.target, protocol="3-fold")), id="folds"
        ),
        pytest.param(grid(compare={"source": ["random"], "test_size": ["image_px", "original"]}), id="shared tuning trials"),
    ],
)
@pytest.mark.parametrize("part", [0.75, 1.2])
def test_every_kind_of_study_ends_within_its_budget(study: Study, part: float) -> None:
    """Stages of candidate rates and of further source models are part of the price. With more than the price, all of it runs."""
    budget = part * full_price(study)
    run = BudgetedRun(study, Limits(budget), workers=3)
    step = run.planner.rounds.step if run.planner.rounds else 0
    run.run()
    assert run.planner.done
    assert differs_by(run.trials("tune")) == 0
    assert differs_by(run.trials("confirm")) <= step
    assert run.device_seconds <= budget + 3 * TRIAL_SECONDS
    assert all(seeds % step == 0 for seeds in run.trials("confirm").values())
    if part > 1:
        assert run.share().seeds == study.seeds
        assert run.planner.trials_done == run.planner.plan.trials
    elif study.trials_per_cell == 8:
        assert run.share().seeds >= 2
        assert run.planner.trials_done < run.planner.plan.trials


def test_a_budget_for_nothing_starts_nothing() -> None:
    """A run whose time is over is done."""
    run = BudgetedRun(GRID, Limits(0.0))
    assert not accepts(run)
    run.run()
    assert run.started == []
    assert run.planner.done
