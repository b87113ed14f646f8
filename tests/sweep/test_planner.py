"""The planner, in whole simulated studies with invented results."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest
from studies import built_in, continues, end, nothing_built, plan_of, small_study

from segsweep.config import Choice, LogUniform, PerCellASHA, PerCellMedian, PerCellRacing, Study, Trial
from segsweep.config.early_stopping import EarlyStopping
from segsweep.config.keep import Reading
from segsweep.config.study import TUNING_SEED
from segsweep.sweep.decisions import Ended, ResumeState, Skipped
from segsweep.sweep.plan import make_plan
from segsweep.sweep.planner import Planner
from segsweep.sweep.simulated import Event, Simulation
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.trial_task import TRIAL


def quality(trial: Trial, epoch: int) -> float:
    """Invent a validation IoU: best near 1e-3, better with a source, growing with the epochs."""
    distance = abs(trial.settings.learning_rate - 1e-3) * 10
    return (0.5 if trial.settings.source == "random" else 0.7) - min(distance, 0.3) + 0.01 * epoch


def simulate(study: Study, workers: int = 1, resume: ResumeState | None = None, **options: object) -> tuple[Simulation, Planner]:
    """Return a finished simulation of a study and its planner."""
    built: dict[str, str] = {}
    planner = Planner(plan_of(study), built_in(built), resume)
    simulation = Simulation(planner, quality, workers, built=built, **options)  # type: ignore[arg-type]
    simulation.run()
    return simulation, planner


def trials_of(events: list[Event], what: str) -> list[Trial]:
    """Return the trials of the events of one kind."""
    return [event.task.spec for event in events if event.what == what and event.task.kind == TRIAL]


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_every_trial_runs_once_on_any_number_of_workers(workers: int) -> None:
    """Each cell gets its tuning trials and its confirmed runs, each exactly once, and each stage is built once."""
    simulation, planner = simulate(small_study(), workers)
    assert planner.done
    trials = trials_of(simulation.events, "finished")
    assert len({trial.trial_id for trial in trials}) == len(trials) == 4 * (4 + 2)
    assert Counter(trial.phase for trial in trials) == {"tune": 16, "confirm": 8}
    assert sum(event.task.kind == STAGE and event.what == "finished" for event in simulation.events) == 1


def test_cells_are_tuned_at_the_same_points_with_the_tuning_seed() -> None:
    """All cells get the same learning rates and the tuning seed; confirmed runs have other seeds."""
    plan = plan_of(small_study())
    rates = {tuple(trial.settings.learning_rate for trial in cell.tuning) for cell in plan.cells}
    assert len(rates) == 1
    assert {trial.seed for cell in plan.cells for trial in cell.tuning} == {TUNING_SEED}
    assert TUNING_SEED not in {trial.seed for cell in plan.cells for trial in cell.confirm(cell.settings)}


def test_cells_that_share_their_tuning_trials_all_choose() -> None:
    """Cells that differ only in their test are tuned once, and each of them is confirmed at the same setting."""
    study = replace(small_study(), compare={"test_size": ["image_px", "original"]})
    simulation, planner = simulate(study)
    assert planner.done
    finished = Counter(trial.phase for trial in trials_of(simulation.events, "finished"))
    assert finished == {"tune": 4, "confirm": 4}
    assert len({choice.settings.learning_rate for choice in planner.choices.values()}) == 1
    assert {choice.settings.test_size for choice in planner.choices.values()} == {"image_px", "original"}


def test_the_best_validation_iou_is_confirmed() -> None:
    """The confirmed runs of a cell use the learning rate that validated best in that cell."""
    simulation, planner = simulate(small_study())
    for cell in planner.plan.cells:
        best = max(cell.tuning, key=lambda trial: quality(trial, 4))
        confirmed = [
            trial for trial in trials_of(simulation.events, "finished") if trial.phase == "confirm" and trial.cell == cell.name
        ]
        assert [trial.seed for trial in confirmed] == [1, 2]
        assert {trial.settings.learning_rate for trial in confirmed} == {best.settings.learning_rate}


@pytest.mark.parametrize("workers", [2, 50])
def test_trials_that_need_no_stage_do_not_wait_for_it(workers: int) -> None:
    """`random` trials start at once, and no other trial starts before its stage is built, however many workers are free."""
    simulation, _ = simulate(small_study(), workers)
    built_at = next(event.seconds for event in simulation.events if event.task.kind == STAGE and event.what == "finished")
    starts = [
        (event.seconds, event.task.spec.settings.source)
        for event in simulation.events
        if event.what == "start" and event.task.kind == TRIAL
    ]
    assert min(seconds for seconds, source in starts if source == "random") == 0.0
    assert min(seconds for seconds, source in starts if source != "random") >= built_at


def test_chains_share_their_beginnings() -> None:
    """Two chains with a common beginning build it once, and each stage after the one before it."""
    study = small_study(
        compare={"source": ["supervised:voc2012", "supervised:voc2012+supervised:coco", "supervised:voc2012+supervised:pets"]}
    )
    simulation, _ = simulate(study, workers=4)
    finished = {
        event.task.spec.name: event.seconds
        for event in simulation.events
        if event.task.kind == STAGE and event.what == "finished"
    }
    assert sorted(finished) == ["supervised:voc2012", "supervised:voc2012+supervised:coco", "supervised:voc2012+supervised:pets"]
    assert all(finished["supervised:voc2012"] < seconds for name, seconds in finished.items() if "+" in name)


def test_a_failed_stage_skips_only_its_trials() -> None:
    """Trials of a source whose stage fails are skipped with its reason; the others finish."""
    simulation, planner = simulate(small_study(), broken=frozenset({"supervised:voc2012"}))
    assert planner.done
    assert {trial.settings.source for trial in trials_of(simulation.events, "finished")} == {"random"}
    skipped = [each for each in simulation.decisions if isinstance(each, Skipped)]
    assert len(skipped) == 2 * 4
    assert all("supervised:voc2012 failed: broken" in each.reason for each in skipped)


def test_a_trial_that_cells_share_is_skipped_once() -> None:
    """If the source of two cells with shared tuning trials failed in an earlier start, each trial is skipped once."""
    plan = plan_of(small_study(compare={"source": ["supervised:voc2012"], "test_size": ["image_px", "original"]}))
    planner = Planner(plan, nothing_built, ResumeState(failed_stages={plan.stages()[0].spec_id: "broken"}))
    skipped = [each.task.identity for each in planner.decisions if isinstance(each, Skipped)]
    assert sorted(skipped) == sorted(trial.trial_id for trial in plan.cells[0].tuning)
    assert planner.done


def test_a_cell_whose_trials_all_fail_has_no_choice() -> None:
    """If every tuning trial fails, nothing is confirmed in that cell, and the other cells continue."""
    built: dict[str, str] = {}

    def broken_encoder(trial: Trial, epoch: int) -> float:
        if trial.settings.freeze == "encoder":
            raise ValueError("no")
        return quality(trial, epoch)

    planner = Planner(plan_of(small_study()), built_in(built))
    Simulation(planner, broken_encoder, built=built).run()
    assert planner.done
    assert sorted(planner.choices) == ["source=random freeze=none", "source=supervised:voc2012 freeze=none"]
    reasons = {cell: choice.reason for cell, choice in planner.unchosen.items()}
    why = "no setting could be chosen: 4 of 4 tuning trials failed; the first: no"
    assert reasons == {"source=random freeze=encoder": why, "source=supervised:voc2012 freeze=encoder": why}


def test_a_cell_without_choice_gives_the_reasons() -> None:
    """Trials that failed, had no source, or had no valid reading are counted separately; the first error is included."""
    plan = plan_of(small_study(compare={"source": ["random"]}))
    ends = [Ended("finished"), Ended("failed", "loss is nan"), Ended("failed", "other"), Ended("skipped", "no source")]
    ended = {trial.trial_id: end for trial, end in zip(plan.cells[0].tuning, ends, strict=True)}
    curves = {plan.cells[0].tuning[0].trial_id: {1: Reading(math.nan)}}
    planner = Planner(plan, nothing_built, ResumeState(ended, curves))
    assert planner.done
    assert not planner.choices
    assert [choice.reason for choice in planner.unchosen.values()] == [
        "no setting could be chosen: 1 of 4 tuning trials finished without a valid reading, 2 of 4 tuning trials failed, "
        "1 of 4 tuning trials had no source; the first: loss is nan"
    ]


def test_a_failed_trial_does_not_win() -> None:
    """The choice is made among the finished trials with readings."""
    plan = plan_of(small_study(compare={"source": ["random"]}))
    tuning = plan.cells[0].tuning
    ended = {
        tuning[0].trial_id: Ended("failed", "broke"),
        tuning[1].trial_id: Ended("finished"),
        tuning[2].trial_id: Ended("stopped"),
        tuning[3].trial_id: Ended("finished"),
    }
    curves = {tuning[number].trial_id: {1: Reading(value)} for number, value in ((0, 0.99), (2, 0.9), (3, 0.3))}
    choice = Planner(plan, lambda _: None, ResumeState(ended, curves)).choices[plan.cells[0].name]
    assert choice.trial == tuning[3]


def test_a_setting_is_chosen_by_the_mean_of_its_last_readings() -> None:
    """One lucky epoch does not win: the mean of the last three readings (or fewer) decides; ties by the loss."""
    plan = plan_of(small_study(compare={"source": ["random"]}))
    tuning = plan.cells[0].tuning
    readings = [
        [Reading(0.99), Reading(0.5), Reading(0.5), Reading(0.5)],  # best in the first epoch, then constant
        [Reading(0.1), Reading(0.2), Reading(0.3), Reading(0.9)],  # one lucky epoch, the last
        [Reading(0.6, -0.4)],
        [Reading(0.5, -0.3), Reading(0.7, -0.1)],  # the same mean, a lower loss
    ]
    for order in (slice(None), slice(None, None, -1)):
        trials = list(tuning)[order]
        curves = {trial.trial_id: dict(enumerate(each, 1)) for trial, each in zip(trials, readings, strict=True)}
        resume = ResumeState({trial.trial_id: Ended("finished") for trial in trials}, curves)
        assert Planner(plan, lambda _: None, resume).choices[plan.cells[0].name].trial == trials[3]


@pytest.mark.parametrize("rule", [PerCellASHA(1, 2), PerCellRacing()])
@pytest.mark.parametrize("seconds", [0.0, 3.0, 11.0, 17.0, 40.0])
def test_a_killed_run_continues_to_the_same_choices(seconds: float, rule: EarlyStopping) -> None:
    """Whenever a sweep is killed, a new planner with its records finishes it, repeats nothing, and makes the same choices."""
    study = small_study(early_stopping=rule)
    whole, planned = simulate(study)
    built: dict[str, str] = {}
    first = Simulation(Planner(plan_of(study), built_in(built)), quality, built=built)
    first.run(until_seconds=seconds)
    ended, curves = {}, defaultdict(dict)
    for event in first.events:
        if event.task.kind == TRIAL:
            if event.what == "epoch":
                curves[event.task.identity][event.epoch] = Reading(quality(event.task.spec, event.epoch))
            elif event.what in ("finished", "stopped"):
                ended[event.task.identity] = Ended(event.what)
    planner = Planner(plan_of(study), built_in(built), ResumeState(ended, curves))
    second = Simulation(planner, quality, built=built)
    second.run()
    ids = [
        trial.trial_id
        for events in (first.events, second.events)
        for what in ("finished", "stopped")
        for trial in trials_of(events, what)
    ]
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(trial.trial_id for what in ("finished", "stopped") for trial in trials_of(whole.events, what))
    assert {cell: choice.settings for cell, choice in planner.choices.items()} == {
        cell: choice.settings for cell, choice in planned.choices.items()
    }


def resume_state(planner: Planner) -> ResumeState:
    """Return the state that a finished planner leaves."""
    trials = [trial for cell in planner.plan.cells for trial in planner.trials(cell)]
    curves = {trial.trial_id: {epoch: Reading(quality(trial, epoch)) for epoch in range(1, 5)} for trial in trials}
    return ResumeState({trial.trial_id: Ended("finished") for trial in trials}, curves)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"seeds": 3}, 4),
        ({"compare": {"source": ["random", "supervised:voc2012", "supervised:coco"], "freeze": ["none", "encoder"]}}, 12),
        ({"trials_per_cell": 5}, 4),
        ({"name": "renamed"}, 0),
        ({"compare": {"freeze": ["encoder", "none"], "source": ["supervised:voc2012", "random"]}}, 0),
    ],
)
def test_a_study_that_grows_runs_only_what_is_missing(changes: dict[str, object], expected: int) -> None:
    """One more seed, source or tuning trial runs only its own trials; a new name or order of axes runs none."""
    _, before = simulate(small_study())
    simulation, after = simulate(small_study(**changes), resume=resume_state(before))
    assert after.done
    assert len(trials_of(simulation.events, "finished")) == expected


def test_a_wider_range_runs_only_its_new_points() -> None:
    """When the range of the learning rate grows, the trials inside the old range are not repeated."""
    _, before = simulate(small_study(trials_per_cell=8))
    wider = small_study(trials_per_cell=8, tune={"learning_rate": LogUniform(1e-5, 1e-1)})
    simulation, _ = simulate(wider, resume=resume_state(before))
    tuned = [trial for trial in trials_of(simulation.events, "finished") if trial.phase == "tune"]
    assert 0 < len(tuned) < 4 * 8
    assert all(trial.settings.learning_rate > 1e-2 for trial in tuned)


def test_failed_trials_run_again_only_on_request() -> None:
    """A failed trial counts as ended; if it is removed from the resumed state, it runs again."""
    _, before = simulate(small_study())
    resume = resume_state(before)
    failed = before.plan.cells[0].tuning[0]
    simulation, _ = simulate(small_study(), resume=replace(resume, ended={**resume.ended, failed.trial_id: Ended("failed", "x")}))
    assert failed.trial_id not in {trial.trial_id for trial in trials_of(simulation.events, "start")}
    others = {key: end for key, end in resume.ended.items() if key != failed.trial_id}
    simulation, _ = simulate(small_study(), resume=replace(resume, ended=others))
    assert next(trial.trial_id for trial in trials_of(simulation.events, "start")) == failed.trial_id


@pytest.mark.parametrize("rule", [PerCellASHA(1, 2), PerCellMedian(1, 2), PerCellRacing()])
def test_early_stopping_compares_within_a_cell_only(rule: EarlyStopping) -> None:
    """A cell whose trials are all worse than those of another cell still finishes some, and is confirmed."""
    simulation, planner = simulate(small_study(early_stopping=rule), workers=2)
    finished = Counter(trial.cell for trial in trials_of(simulation.events, "finished") if trial.phase == "tune")
    stopped = trials_of(simulation.events, "stopped")
    assert set(finished) == {cell.name for cell in planner.plan.cells}
    assert stopped
    assert all(trial.phase == "tune" for trial in stopped)
    assert len(planner.choices) == 4


@pytest.mark.parametrize("rule", [PerCellASHA(1, 2), PerCellMedian(1, 2), PerCellRacing()])
@pytest.mark.parametrize("source", ["random", "supervised:voc2012"])
def test_a_cell_stops_the_same_trials_without_other_cells(source: str, rule: EarlyStopping) -> None:
    """The trials that early stopping stops in a cell do not depend on better or worse cells of the study."""
    both = small_study(compare={"source": ["supervised:voc2012", "random"]}, early_stopping=rule, trials_per_cell=8)
    stopped = [
        {trial.trial_id for trial in trials_of(simulate(study)[0].events, "stopped") if trial.settings.source == source}
        for study in (both, replace(both, compare={"source": [source]}))
    ]
    assert stopped[0] == stopped[1] != set()


def test_asha_keeps_the_best_of_a_rung() -> None:
    """At a rung, a trial continues if it is among the best half so far; the same trials in a worse order lose more."""
    study = small_study(compare={"source": ["random"]}, early_stopping=PerCellASHA(1, 2), trials_per_cell=8)
    simulation, planner = simulate(study)
    rates = [trial.settings.learning_rate for trial in planner.plan.cells[0].tuning]
    best_so_far = -1.0
    stopped = {trial.settings.learning_rate for trial in trials_of(simulation.events, "stopped")}
    for rate in rates:
        value = next(quality(trial, 1) for trial in planner.plan.cells[0].tuning if trial.settings.learning_rate == rate)
        if value > best_so_far:
            assert rate not in stopped
            best_so_far = value
    assert stopped


def test_a_trial_that_fails_later_stops_no_other() -> None:
    """The readings of a trial that fails later do not count: the best trial that does not fail finishes."""
    study = small_study(compare={"source": ["random"]}, early_stopping=PerCellRacing(margin=0.0))
    planner = Planner(plan_of(study), nothing_built)
    broken, good, bad, _ = planner.plan.cells[0].tuning
    continues(planner, broken, 1, Reading(0.9))
    end(planner, broken, Ended("failed", "diverged"))
    assert continues(planner, good, 1, Reading(0.5))
    assert not continues(planner, bad, 1, Reading(0.4))


def test_a_continued_race_knows_how_trials_ended() -> None:
    """After a restart, stopped or failed trials stop no other trial; a finished one still does."""
    study = small_study(compare={"source": ["random"]}, early_stopping=PerCellRacing(margin=0.0))
    plan = plan_of(study)
    first, second, third, last = plan.cells[0].tuning
    curves = {trial.trial_id: {1: Reading(value)} for trial, value in ((first, 0.9), (second, 0.8), (third, 0.3))}
    for status, goes_on in (("finished", False), ("stopped", True)):
        ended = {first.trial_id: Ended("failed", "x"), second.trial_id: Ended("stopped"), third.trial_id: Ended(status)}
        assert continues(Planner(plan, nothing_built, ResumeState(ended, curves)), last, 1, Reading(0.2)) == goes_on


def failing_leader(fails_at: int, others_fail: tuple[int, ...] = ()) -> Callable[[Trial, int], float]:
    """Return an invented IoU: the first trial is best until it raises at epoch `fails_at`; points in `others_fail` raise at the
    end."""

    def invented(trial: Trial, epoch: int) -> float:
        if trial.phase == "confirm":
            return 0.5
        if trial.point in others_fail and epoch == 4:
            raise ValueError("broke at its end")
        if trial.point == 0 and epoch >= fails_at:
            raise ValueError("loss is nan")
        return 0.9 if trial.point == 0 else 0.1 * trial.point + 0.01 * epoch

    return invented


RULES = [PerCellRacing(), PerCellASHA(1, 2), PerCellMedian(1, 1)]


def leader_study(rule: EarlyStopping) -> Study:
    """Return a study of one cell and four tuning trials, whose points are numbered from 0."""
    return small_study(compare={"source": ["random"]}, early_stopping=rule)


def statuses(events: list[Event]) -> list[tuple[str, int | None]]:
    """Return how tuning trials ended, in order, with their points."""
    ends = ("finished", "stopped", "failed")
    works = [(event.what, event.task) for event in events if event.what in ends and event.task.kind == TRIAL]
    return [(what, task.spec.point) for what, task in works if task.spec.phase == "tune"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("workers", [2, 4])
def test_a_stopped_trial_is_rerun_if_the_leader_failed(rule: EarlyStopping, workers: int) -> None:
    """If the only unstopped trial of a cell fails in its last epoch, the best stopped trial is rerun to its end and chosen."""
    planner = Planner(plan_of(leader_study(rule)), nothing_built)
    simulation = Simulation(planner, failing_leader(4), workers)
    ends = statuses(simulation.run())
    assert planner.done
    assert ("failed", 0) in ends
    finished = [point for what, point in ends if what == "finished"]
    assert len(finished) == 1
    (choice,) = planner.choices.values()
    assert choice.trial.point == finished[0]
    assert Counter(trial.phase for trial in trials_of(simulation.events, "finished")) == {"tune": 1, "confirm": 2}


def test_stopped_trials_are_rerun_one_at_a_time_best_first() -> None:
    """Of three stopped trials, the best is rerun and fails, too; then the next finishes; the worst stays stopped."""
    planner = Planner(plan_of(leader_study(PerCellRacing())), nothing_built)
    simulation = Simulation(planner, failing_leader(4, others_fail=(3,)), workers=4)
    ends = statuses(simulation.run())
    assert set(ends[:4]) == {("stopped", 1), ("stopped", 2), ("stopped", 3), ("failed", 0)}
    assert ends[4:] == [("failed", 3), ("finished", 2)]
    (choice,) = planner.choices.values()
    assert choice.trial.point == 2
    read = [event.epoch for event in simulation.events if event.what == "epoch" and event.task.spec.point == 2]
    assert [epoch for epoch in read if epoch == 1] == [1, 1]  # from the start


def test_a_cell_whose_rerun_trials_all_fail_has_no_choice() -> None:
    """If no stopped trial finishes either, the cell has no choice, and every trial has failed."""
    planner = Planner(plan_of(leader_study(PerCellRacing())), nothing_built)
    Simulation(planner, failing_leader(4, others_fail=(1, 2, 3)), workers=4).run()
    assert planner.done
    assert not planner.choices
    (choice,) = planner.unchosen.values()
    assert "4 of 4 tuning trials failed" in choice.reason


def test_a_leader_without_valid_readings_counts_as_failed() -> None:
    """A trial that led, stopped all others and finished with NaN is not the only result of its cell."""
    planner = Planner(plan_of(leader_study(PerCellRacing())), nothing_built)

    def invented(trial: Trial, epoch: int) -> float:
        return math.nan if trial.point == 0 and epoch > 3 else failing_leader(9)(trial, epoch)

    ends = statuses(Simulation(planner, invented, workers=4).run())
    assert ends[-1] == ("finished", 3)
    assert [choice.trial.point for choice in planner.choices.values()] == [3]


@pytest.mark.parametrize("rule", RULES)
def test_a_killed_run_reruns_the_same_trials(rule: EarlyStopping) -> None:
    """After a kill at any time, also between the leader's failure and its successor's end, the choice is the same."""
    study, invented = leader_study(rule), failing_leader(4)
    whole = Planner(plan_of(study), nothing_built)
    total = len(Simulation(whole, invented, 4).run())
    (chosen,) = (choice.trial.trial_id for choice in whole.choices.values())
    for seconds in range(total):
        first = Simulation(Planner(plan_of(study), nothing_built), invented, 4)
        ended: dict[str, Ended] = {}
        curves: dict[str, dict[int, Reading]] = {}
        for event in first.run(until_seconds=seconds):
            identity = event.task.identity
            if event.what == "start" and identity in ended:
                del ended[identity], curves[identity]  # the records discard the epochs of a rerun trial
            elif event.what == "epoch":
                curves.setdefault(identity, {})[event.epoch] = Reading(invented(event.task.spec, event.epoch))
            elif event.what != "start":
                ended[identity] = Ended(event.what)
        planner = Planner(plan_of(study), nothing_built, ResumeState(ended, curves))
        Simulation(planner, invented, 4).run()
        assert planner.done
        assert [choice.trial.trial_id for choice in planner.choices.values()] == [chosen], seconds


def test_a_setting_without_a_valid_reading_is_not_chosen() -> None:
    """A trial whose last readings are NaN loses to any other; without another the cell has no choice."""
    plan = plan_of(small_study(compare={"source": ["random"]}))
    tuning = plan.cells[0].tuning
    for values, chosen in (((math.nan, 0.1, math.nan, 0.2), 3), ((math.nan,) * 4, None)):
        curves = {trial.trial_id: {1: Reading(value)} for trial, value in zip(tuning, values, strict=True)}
        resume = ResumeState({trial.trial_id: Ended("finished") for trial in tuning}, curves)
        choice = Planner(plan, nothing_built, resume).choices.get(plan.cells[0].name)
        assert (choice and choice.trial) == (None if chosen is None else tuning[chosen])


def test_a_choice_at_the_edge_is_marked() -> None:
    """A choice in the outer tenth, or at the lowest or highest tried value, is marked; one in the middle is not."""
    plan = plan_of(small_study(compare={"source": ["random"]}, trials_per_cell=8))
    tuning = sorted(plan.cells[0].tuning, key=lambda trial: trial.settings.learning_rate)
    for winner, marked in ((tuning[0], True), (tuning[4], False), (tuning[-1], True)):
        ended = {trial.trial_id: Ended("finished") for trial in tuning}
        curves = {trial.trial_id: {1: Reading(0.9 if trial == winner else 0.1)} for trial in tuning}
        choice = Planner(plan, lambda _: None, ResumeState(ended, curves)).choices[plan.cells[0].name]
        assert (choice.at_edge == ("learning_rate",)) == marked


@pytest.mark.parametrize(
    ("rates", "winner", "marked"),
    [
        ((1e-4, 1e-3, 1e-2), 0, True),
        ((1e-4, 1e-3, 1e-2), 1, False),
        ((1e-2, 1e-4, 1e-3), 0, True),
        ((1e-4, 1e-3), 0, False),
    ],
)
def test_the_edge_of_listed_values_is_marked(rates: tuple[float, ...], winner: int, marked: bool) -> None:
    """Of at least three listed numbers that were tried, the lowest and the highest are at an edge."""
    plan = plan_of(small_study(compare={"source": ["random"]}, tune={"learning_rate": Choice(rates)}, trials_per_cell=None))
    tuning = plan.cells[0].tuning
    assert [trial.settings.learning_rate for trial in tuning] == list(rates)
    curves = {trial.trial_id: {1: Reading(0.9 if number == winner else 0.1)} for number, trial in enumerate(tuning)}
    choice = Planner(plan, nothing_built, ResumeState({trial: Ended("finished") for trial in curves}, curves)).choices[
        plan.cells[0].name
    ]
    assert (choice.at_edge == ("learning_rate",)) == marked


def test_a_list_that_grows_runs_only_its_new_values() -> None:
    """Values that are added to a list, and a larger part of a list, run only their own trials."""
    few = small_study(tune={"learning_rate": Choice(1e-4, 1e-3, 1e-2)}, trials_per_cell=2)
    _, before = simulate(few)
    for grown, new in (
        (replace(few, trials_per_cell=None), 1),
        (replace(few, tune={"learning_rate": Choice(1e-5, 1e-4, 1e-3)}), 1),
    ):
        simulation, _ = simulate(grown, resume=resume_state(before))
        assert sum(trial.phase == "tune" for trial in trials_of(simulation.events, "finished")) == 4 * new


def test_source_seeds_take_turns() -> None:
    """With two source seeds, two stages are built, and confirmed runs use them alternately."""
    simulation, _ = simulate(small_study(source_seeds=2, seeds=4), workers=3)
    assert sum(event.task.kind == STAGE and event.what == "finished" for event in simulation.events) == 2
    seeds = {
        trial.seed: trial.source_seed
        for trial in trials_of(simulation.events, "finished")
        if trial.phase == "confirm" and trial.stage
    }
    assert seeds == {1: 0, 2: 1, 3: 0, 4: 1}


def test_a_study_without_tuned_axes_confirms_at_once() -> None:
    """Without tuned axes there are no tuning trials, and the confirmed runs use the fixed settings."""
    simulation, planner = simulate(small_study(tune={}))
    assert {trial.phase for trial in trials_of(simulation.events, "finished")} == {"confirm"}
    assert planner.plan.trials == 8


def test_the_store_is_not_queried_again_for_a_built_stage() -> None:
    """The store is queried for a stage until it has it, and not again for every trial."""
    asked: list[str] = []

    def find(kind: str, key: str) -> str | None:  # noqa: ARG001
        asked.append(key)
        return "content"

    planner = Planner(plan_of(small_study(trials_per_cell=50)), find)
    for work in islice(iter(planner.next, None), 1000):
        assert work.task.kind == TRIAL
        continues(planner, work.task.spec, 1, Reading(0.5))
        end(planner, work.task.spec, Ended("finished"))
    assert len(asked) == 1


def test_epochs_of_one_trial_follow_each_other() -> None:
    """A simulated trial reports its epochs in order, at equal intervals."""
    simulation, _ = simulate(small_study(), workers=3)
    epochs = defaultdict(list)
    for event in simulation.events:
        if event.what == "epoch":
            epochs[event.task.identity].append((event.epoch, event.seconds))
    for series in epochs.values():
        assert [epoch for epoch, _ in series] == [1, 2, 3, 4]
        assert all(later[1] - earlier[1] == pytest.approx(1.0) for earlier, later in pairwise(series))


def test_a_stage_that_another_run_builds_is_left_alone() -> None:
    """While another run builds a stage, the other trials run; when it is built, the rest runs."""
    built: dict[str, str] = {}
    taken = True
    planner = Planner(plan_of(small_study()), built_in(built), is_being_built=lambda *_: taken)
    found = [given for _ in range(9) if (given := planner.next()) is not None]
    given = [work.task.spec for work in found if work.task.kind == TRIAL]
    assert len(given) == 8
    assert {trial.settings.source for trial in given} == {"random"}
    assert not any(work.task.kind == STAGE for work in found)
    assert not planner.done
    (stage,) = planner.missing_stages()
    built[stage.key(None)] = "content"
    taken = False
    work = planner.next()
    assert work.task.kind == TRIAL
    assert work.keys == (stage.key(None),)


def test_a_requeued_task_is_assigned_again() -> None:
    """A stage or a trial that is requeued is the next task, and the study is not done meanwhile."""
    planner = Planner(plan_of(small_study()), nothing_built)
    stage, trial = planner.next(), planner.next()
    assert stage.task.kind == STAGE
    assert trial.task.kind == TRIAL
    planner.requeue(trial.task)
    planner.requeue(stage.task)
    assert planner.next() == stage
    assert planner.next() == trial


def test_weight_files_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker, whose working directory differs, finds the file that a study names by a relative path."""
    monkeypatch.chdir(tmp_path)
    (stage,) = plan_of(small_study(compare={"source": ["file:weights.pth"]})).stages()
    assert stage.stage.name == str(tmp_path / "weights.pth")


def test_cells_that_are_the_same_work_are_one_cell():
    """Two names of one dataset give one cell, which the plan reports; every cell of the plan has its trials."""
    study = small_study(compare={"source": ["supervised:voc2012", "supervised:voc2012/all"], "freeze": ["none", "encoder"]})
    plan = make_plan(study, lambda name, scheme, image_px, fit: f"data {name.partition('/')[0]} {scheme} {image_px} {fit}")
    policies = ("none", "encoder")
    assert [cell.name for cell in plan.cells] == [f"source=supervised:voc2012 freeze={policy}" for policy in policies]
    assert plan.twins == {
        f"source=supervised:voc2012/all freeze={policy}": f"source=supervised:voc2012 freeze={policy}" for policy in policies
    }
    assert plan.trials == 2 * (4 + 2)


@pytest.mark.parametrize("rule", [PerCellRacing(), PerCellASHA(reduction_factor=2), PerCellMedian(min_trials=1)])
def test_the_curves_of_earlier_starts_stop_later_trials(rule: EarlyStopping) -> None:
    """A trial far behind one that finished in an earlier start is stopped, as if both had run in one start."""
    plan = plan_of(small_study(compare={"source": ["random"]}, early_stopping=rule))
    first, second, *_ = plan.cells[0].tuning
    curve = {epoch: Reading(0.9) for epoch in (1, 2, 3, 4)}
    goes_on = {}
    for start, resume in {
        "same": ResumeState(),
        "later": ResumeState({first.trial_id: Ended("finished")}, {first.trial_id: curve}),
    }.items():
        planner = Planner(plan, nothing_built, resume)
        if start == "same":
            for epoch, found in curve.items():
                continues(planner, first, epoch, found)
            end(planner, first, Ended("finished"))
        goes_on[start] = [continues(planner, second, epoch, Reading(0.1)) for epoch in (1, 2, 3)]
    assert goes_on["later"] == goes_on["same"]
    assert not all(goes_on["later"])


def test_a_lost_stage_is_rebuilt_and_its_trials_wait() -> None:
    """After `recheck_artifacts`, a missing stage is assigned before the trials that need it."""
    built: dict[str, str] = {}
    planner = Planner(plan_of(small_study(compare={"source": ["supervised:voc2012"]})), built_in(built))
    stage = planner.next()
    assert stage.task.kind == STAGE
    built[stage.task.spec.key(None)] = "content"
    planner.task_ended(stage.task)
    trial = planner.next()
    assert trial.task.kind == TRIAL
    built.clear()
    planner.recheck_artifacts()
    planner.requeue(trial.task)
    assert planner.next() == stage
    assert planner.next() is None
    built[stage.task.spec.key(None)] = "other content"
    planner.task_ended(stage.task)
    assert planner.next() == trial
