"""The search for the best model, in whole simulated studies with invented results."""

from collections.abc import Mapping
from typing import Any

import pytest
from studies import built_in, plan_of, small_study

from segsweep.config import Choice, PerCellASHA, PerCellRacing, Search, Study, Trial
from segsweep.config.keep import Reading
from segsweep.sweep.decisions import Ended, ResumeState, Suggested
from segsweep.sweep.planner import Planner
from segsweep.sweep.simulated import Simulation
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.trial_task import TRIAL, trial_columns


def quality(trial: Trial, epoch: int) -> float:
    """Invent a validation IoU: best near 1e-3, better with a source, growing with the epochs."""
    distance = abs(trial.settings.learning_rate - 1e-3) * 10
    frozen = 0.05 if trial.settings.freeze == "encoder" else 0.0
    return (0.5 if trial.settings.source == "random" else 0.7) - min(distance, 0.3) - frozen + 0.01 * epoch


def searching(trials: int = 20, **changes: Any) -> Study:
    """Return the small study as a search."""
    return small_study(**{"search": Search(trials=trials, confirm=2), **changes})


def simulate(study: Study, workers: int = 1, resume: ResumeState | None = None, **options: Any) -> Simulation:
    """Return a finished simulation of a search."""
    built: dict[str, str] = options.pop("built", {})
    until_seconds = options.pop("until_seconds", float("inf"))
    planner = Planner(plan_of(study), built_in(built), resume)
    simulation = Simulation(planner, options.pop("val_iou", quality), workers, built=built, **options)
    simulation.run(until_seconds)
    return simulation


def suggestions(simulation: Simulation) -> list[Trial]:
    """Return the suggested trials, in order."""
    return [each.trial for each in simulation.decisions if isinstance(each, Suggested)]


def ended(simulation: Simulation, phase: str) -> list[Trial]:
    """Return the trials of a phase that ended by themselves."""
    trials = [event.task.spec for event in simulation.events if event.what == "finished" and event.task.kind == TRIAL]
    return [trial for trial in trials if trial.phase == phase]


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_a_search_runs_its_trials_and_confirms_the_best_settings_of_the_best_cells(workers: int) -> None:
    """The search runs as many trials as declared, each combination once; the confirmed settings are those of its best trials."""
    simulation = simulate(searching(), workers)
    assert simulation.planner.done
    trials, confirmed = ended(simulation, "search"), ended(simulation, "confirm")
    assert len({trial.trial_id for trial in trials}) == len(trials) == 20
    assert sorted(trial.point for trial in trials) == list(range(20))
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: quality(trial, 4), reverse=True):
        best.setdefault(trial.cell, trial)
    expected = [(cell, trial.settings) for cell, trial in list(best.items())[:2]]
    assert [(trial.cell, trial.settings) for trial in confirmed] == [pair for pair in expected for _ in range(2)]
    assert {trial.seed for trial in confirmed} == {1, 2}


def test_a_search_suggests_no_more_trials_than_workers_can_run() -> None:
    """A suggestion should know the results so far: no trial is suggested before a worker is free for it."""
    simulation = simulate(searching(), workers=3)
    open_now = most = 0
    for event in simulation.events:
        if event.task.kind == TRIAL and event.task.spec.phase == "search":
            open_now += {"start": 1, "finished": -1}.get(event.what, 0)
            most = max(most, open_now)
    assert most == 3


def recorded(simulation: Simulation, before: ResumeState | None = None) -> ResumeState:
    """Return what the records of a simulation would hold after `kill -9`: started trials, ended trials and epochs so far."""
    before = before or ResumeState()
    ended, curves = dict(before.ended), {trial: dict(curve) for trial, curve in before.curves.items()}
    rows: dict[str, Mapping[str, Any]] = {row["trial_id"]: row for row in before.searched}
    for event in simulation.events:
        if event.task.kind == TRIAL:
            trial = event.task.spec
            if trial.phase == "search":
                rows.setdefault(trial.trial_id, {**trial_columns(trial), "status": event.what})
            if event.what == "epoch" and trial.phase == "search":
                curves.setdefault(trial.trial_id, {})[event.epoch] = Reading(quality(trial, event.epoch))
            elif event.what in ("finished", "stopped", "failed"):
                ended[trial.trial_id] = Ended(event.what)
    return ResumeState(ended, curves, searched=list(rows.values()))


def points_of(simulation: Simulation, before: ResumeState) -> dict[int, str]:
    """Return the trials of a search by the number of their suggestion, with those of the starts before."""
    first = {row["point"]: row["trial_id"] for row in before.searched}
    return first | {trial.point: trial.trial_id for trial in suggestions(simulation) if trial.point is not None}


@pytest.mark.parametrize("rule", [None, PerCellASHA(grace_epochs=1, reduction_factor=2), PerCellRacing()])
@pytest.mark.parametrize("share", [0.15, 0.28, 0.45, 0.63, 0.77, 0.93])  # of the undisturbed search's time
def test_a_killed_search_continues_with_the_suggestions_of_an_undisturbed_one(
    rule: PerCellASHA | PerCellRacing | None, share: float
) -> None:
    """With one worker, a search that is killed at any moment suggests the same trials and confirms the same settings."""
    study = searching(early_stopping=rule)
    undisturbed = simulate(study)
    built: dict[str, str] = {}
    killed = simulate(study, built=built, until_seconds=share * undisturbed.events[-1].seconds)
    assert not killed.planner.done
    before = recorded(killed)
    continued = simulate(study, resume=before, built=built)
    assert points_of(continued, before) == points_of(undisturbed, ResumeState())
    confirmed = [trial.trial_id for trial in ended(undisturbed, "confirm")]
    known = [trial.trial_id for trial in ended(killed, "confirm")]
    assert [*known, *(trial.trial_id for trial in ended(continued, "confirm"))] == confirmed


def test_a_killed_search_runs_its_open_trials_again_on_several_workers() -> None:
    """Trials that ran when the search was killed continue with the same settings, and the number of trials stays as declared."""
    study, built = searching(), dict[str, str]()
    killed = simulate(study, 4, built=built, until_seconds=21.5)
    before = recorded(killed)
    open_trials = {row["trial_id"] for row in before.searched} - set(before.ended)
    assert len(open_trials) == 4
    continued = simulate(study, 4, resume=before, built=built)
    assert open_trials <= {trial.trial_id for trial in ended(continued, "search")}
    assert len(points_of(continued, before)) == 20
    assert {trial.trial_id for trial in ended(continued, "search")}.isdisjoint(before.ended)


def test_a_finished_search_with_more_trials_continues() -> None:
    """A search that asks for more trials keeps its trials and adds only the missing ones."""
    built: dict[str, str] = {}
    before = recorded(simulate(searching(8), built=built))
    more = simulate(searching(12), resume=before, built=built)
    assert [trial.point for trial in suggestions(more)] == [8, 9, 10, 11]


def test_axes_that_a_search_does_not_know_leave_its_trials_out() -> None:
    """Recorded trials that lie outside the changed space do not count; the others keep their numbers."""
    before = recorded(simulate(searching(12)))
    narrow = searching(12, compare={"source": ["random", "supervised:voc2012"], "freeze": ["none"]})
    kept = {row["point"] for row in before.searched if row["freeze"] == "none"}
    continued = simulate(narrow, resume=before)
    assert 0 < len(kept) < 12
    assert {trial.point for trial in suggestions(continued)} == set(range(12)) - kept


def test_a_search_ends_when_every_combination_is_tried() -> None:
    """A space of eight combinations ends a search of twenty trials after eight, each tried once."""
    study = searching(20, tune={"learning_rate": Choice(1e-4, 1e-3)})
    simulation = simulate(study)
    assert simulation.planner.done
    assert len({trial.trial_id for trial in suggestions(simulation)}) == len(suggestions(simulation)) == 8
    assert len(ended(simulation, "confirm")) == 4


def test_a_search_needs_the_sources_that_it_tries_and_survives_a_broken_one() -> None:
    """Trials of a source that cannot be built are skipped; the search goes on elsewhere and confirms what it can."""
    simulation = simulate(searching(20), broken=frozenset({"supervised:voc2012"}))
    assert simulation.planner.done
    confirmed = ended(simulation, "confirm")
    assert confirmed
    assert all(trial.settings.source == "random" for trial in confirmed)


def test_a_search_whose_trials_all_fail_says_why() -> None:
    """Without a finished trial no setting is confirmed, and every tried cell has the reason."""

    def fails(_trial: Trial, _epoch: int) -> float:
        raise ValueError("out of memory")

    simulation = simulate(searching(6), val_iou=fails)
    planner = simulation.planner
    assert planner.done
    assert not planner.choices
    reasons = {choice.reason for choice in planner.unchosen.values()}
    assert reasons == {"no setting could be chosen: 6 of 6 tuning trials failed; the first: out of memory"}


def test_early_stopping_compares_the_trials_of_all_cells() -> None:
    """In a search a trial of a weak cell is stopped by one of a strong cell, which never happens in a grid."""
    study = searching(30, early_stopping=PerCellRacing())
    events = simulate(study).events
    stopped = [event.task.spec for event in events if event.what == "stopped"]
    assert any(trial.settings.source == "random" for trial in stopped)
    last = max(quality(trial, 4) for trial in ended(simulate(study), "search"))
    assert all(quality(trial, 4) < last for trial in stopped)


def test_a_search_compares_trials_of_different_lengths() -> None:
    """With the number of epochs as an axis, short and long trials run to their end or are stopped, and the best is confirmed."""
    study = searching(30, compare={"epochs": [2, 4, 6]}, fixed={"precision": "float32"}, early_stopping=PerCellASHA())
    simulation = simulate(study)
    stopped = [event.task.spec for event in simulation.events if event.what == "stopped"]
    lengths = {trial.settings.epochs for trial in ended(simulation, "search")}
    assert stopped
    assert len(lengths) > 1
    assert {trial.settings.epochs for trial in ended(simulation, "confirm")} <= {4, 6}  # the invented score grows with epochs


def test_a_search_tunes_the_sources_before_its_first_trial() -> None:
    """With several source rates, all are tried before the search begins, and its trials use the chosen one."""
    study = searching(10, source_trials=2)
    simulation = simulate(study)
    kinds = [(event.task.kind, event.what) for event in simulation.events]
    first = next(number for number, (kind, _) in enumerate(kinds) if kind == TRIAL)
    assert kinds[:first].count((STAGE, "finished")) == 2
    assert (STAGE, "start") not in kinds[first:]
    assert simulation.planner.done


def test_a_search_concentrates_on_what_is_good() -> None:
    """After its first trials, most suggestions of the default sampler are of the better source; those of `random` are not."""

    def share(sampler: str) -> float:
        trials = suggestions(simulate(searching(search=Search(trials=60, sampler=sampler))))  # type: ignore[arg-type]
        return sum(trial.settings.source != "random" for trial in trials[20:]) / 40

    assert share("tpe") > 0.7
    assert 0.3 < share("random") < 0.7
