"""Which scores a study plans, and when they run: last, once, and never at the cost of a training."""

from collections.abc import Collection
from functools import partial

from studies import nothing_built, plan_of, small_study

from segsweep.config import LogUniform, Search, Study, Target
from segsweep.sweep.decisions import Ended, ResumeState
from segsweep.sweep.plan import Plan
from segsweep.sweep.planner import Planner
from segsweep.sweep.simulated import Simulation
from segsweep.sweep.source_scores import score_tasks
from segsweep.tasks.score_task import SCORE, ScoreTask
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.trial_task import TRIAL

scores_of = partial(score_tasks, fixed_weights="random")


def planned(study: Study, undecided: Collection[str] = ()) -> list[tuple[str, str, str, float]]:
    """Return source, architecture, subset and fraction of the scores of a study."""
    specs = (task.spec for task in scores_of(plan_of(study), undecided))
    return [(spec.source, spec.settings.architecture, spec.subset, spec.settings.fraction) for spec in specs]


def simulated(study: Study, workers: int = 2, **changes: object) -> Simulation:
    """Return a simulation of a study with scores, after its end."""
    planner = Planner(plan_of(study), nothing_built, score_tasks=scores_of)
    simulation = Simulation(planner, lambda *_: 0.5, workers=workers, **changes)
    planner._schedule.built._find = lambda kind, key: simulation.built.get(key)  # noqa: ARG005
    simulation.run()
    return simulation


def test_every_source_is_scored_on_both_subsets() -> None:
    """Each source, architecture and subset has one task, however many freeze policies and fractions share it."""
    compare = {
        "source": ["random", "supervised:voc2012", "supervised:coco"],
        "architecture": ["unet16", "unet4"],
        "freeze": ["none", "encoder"],
        "fraction": [0.5, 0.1, 0.2],
    }
    found = planned(small_study(compare=compare))
    sources, architectures = compare["source"], compare["architecture"]
    subsets = [("smallest", 0.1), ("largest", 0.5)]
    assert sorted(found) == sorted((source, each, *subset) for source in sources for each in architectures for subset in subsets)


def test_a_study_without_fractions_has_one_subset() -> None:
    """If all cells train on equally many images, each source is scored once, on these."""
    assert [each for _, _, *each in planned(small_study())] == [["largest", 1.0]] * 2
    fixed = {"epochs": 1, "precision": "float32", "fraction": 0.3}
    assert [each for _, _, *each in planned(small_study(fixed=fixed))] == [["largest", 0.3]] * 2


def test_nothing_is_scored_without_a_comparison_of_sources() -> None:
    """A study with one source, and one whose sources differ in the size of images, make no scores."""
    for source in ("random", "supervised:voc2012"):
        assert planned(small_study(compare={"source": [source], "freeze": ["none", "encoder"]})) == []
    grids = [{"source": ["random"], "image_px": [64]}, {"source": ["supervised:voc2012"], "image_px": [128]}]
    assert planned(small_study(compare=grids)) == []


def test_every_model_of_a_source_is_scored() -> None:
    """With two models per source, each is scored; random weights, which are averaged anyway, once."""
    specs = [task.spec for task in scores_of(plan_of(small_study(source_seeds=2)), ())]
    assert [(spec.source, spec.stage and spec.stage.seed) for spec in specs] == [
        ("random", None),
        ("supervised:voc2012", 0),
        ("supervised:voc2012", 1),
    ]


def test_folds_are_scored_on_the_first() -> None:
    """Under a protocol with folds, a source is scored on the training split of the first fold."""
    specs = [task.spec for task in scores_of(plan_of(small_study(target=Target("pets", protocol="5-fold"))), ())]
    assert [(spec.source, spec.settings.fold) for spec in specs] == [("random", 1), ("supervised:voc2012", 1)]


def test_scores_run_when_nothing_else_can() -> None:
    """A score starts only while no stage and no trial is ready, and the study ends after the last score."""
    simulation = simulated(small_study(), workers=1)
    started = [event.task.kind for event in simulation.events if event.what == "start"]
    assert started[-2:] == [SCORE, SCORE]
    assert started.count(SCORE) == 2
    assert simulation.planner.done


def test_a_free_worker_scores_while_others_train() -> None:
    """A worker for which no trial is ready scores a source whose stage is built."""
    study = small_study(compare={"source": ["random", "supervised:voc2012"]}, trials_per_cell=1, seeds=1)
    simulation = simulated(study, workers=4)
    first_score = next(place for place, event in enumerate(simulation.events) if event.task.kind == SCORE)
    assert any(event.task.kind == STAGE and event.what == "finished" for event in simulation.events[first_score:])


def test_scores_of_a_failed_source_are_skipped() -> None:
    """They are recorded as skipped with the reason; the scores of other sources are computed."""
    simulation = simulated(small_study(), broken=frozenset({"supervised:voc2012"}))
    skipped = [each for each in simulation.decisions if hasattr(each, "reason") and isinstance(each.task, ScoreTask)]
    assert [(each.task.spec.source, each.reason) for each in skipped] == [
        ("supervised:voc2012", "source stage supervised:voc2012 failed: broken")
    ]
    assert [event.task.spec.source for event in simulation.events if event.task.kind == SCORE] == ["random", "random"]


def test_a_finished_study_trains_no_source_for_its_scores() -> None:
    """If all trials have ended and the store lacks a stage, the stage is not built for its scores."""
    study = small_study(tune={})
    confirmed = (trial for cell in plan_of(study).cells for trial in cell.confirm(cell.settings))
    resume = ResumeState(ended={trial.trial_id: Ended("finished") for trial in confirmed})
    planner = Planner(plan_of(study), nothing_built, resume, score_tasks=scores_of)
    given = []
    while (assignment := planner.next()) is not None:
        given.append(assignment.task)
        planner.record_ended(assignment.task.identity, Ended("finished"))
        planner.task_ended(assignment.task)
    assert [(task.kind, task.spec.source) for task in given] == [(SCORE, "random")]
    assert planner.done


def test_recorded_scores_do_not_run_again() -> None:
    """Scores that ended in an earlier start, also by failing, are not computed again."""
    plan = plan_of(small_study(compare={"source": ["random", "supervised:voc2012"]}))
    first, second = scores_of(plan, ())
    ended = {first.identity: Ended("failed"), second.identity: Ended("finished")}
    planner = Planner(plan, nothing_built, ResumeState(ended=ended), score_tasks=scores_of)
    assert [task for task in planner._schedule if task.kind == SCORE] == []
    assert [done for _, done in planner.all_scores()] == [True, True]


def test_a_source_whose_rate_is_tuned_is_scored_with_the_chosen_rate() -> None:
    """Its scores are planned when the rate is chosen, and those of the other rates never."""
    tune = {"learning_rate": LogUniform(1e-5, 1e-2), "source_learning_rate": LogUniform(1e-4, 1e-2)}
    study = small_study(tune=tune, source_trials=3)
    planner = Planner(plan_of(study), nothing_built, score_tasks=scores_of, read_stage=lambda key: float(key == best_key))
    simulation = Simulation(planner, lambda *_: 0.5, workers=2)
    planner._schedule.built._find = lambda kind, key: simulation.built.get(key)  # noqa: ARG005
    rates = planner.plan.cells[-1].source_rates
    best_key = rates[1].stage.key(None)
    assert [spec.source for spec in (task.spec for task in planner.scores.values())] == ["random"]
    simulation.run()
    scored = {task.spec.stage for task in planner.scores.values() if task.spec.stage is not None}
    assert scored == {rates[1].stage}
    assert sum(event.what == "finished" for event in simulation.events if event.task.kind == SCORE) == 2


def test_no_scores_are_planned_by_default() -> None:
    """A planner without a rule for scores plans none."""
    plan: Plan = plan_of(small_study())
    assert Planner(plan, nothing_built).scores == {}


def test_scores_wait_for_the_trials_of_a_search() -> None:
    """On one worker no score starts before the last trial of a search, although no trial is ready when a worker asks for work."""
    events = simulated(small_study(search=Search(trials=6, confirm=1)), workers=1).events
    started = [event.task for event in events if event.what == "start"]
    first = next(place for place, task in enumerate(started) if task.kind == SCORE)
    searched = [place for place, task in enumerate(started) if task.kind == TRIAL and task.spec.phase == "search"]
    assert len(searched) == 6
    assert first > max(searched)
