"""Sources whose learning rate is tuned: the trained stages, the choice, and its consequences."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from studies import built_in, plan_of, small_study
from text_lines import unwrapped

import segsweep
from segsweep.config import Choice, LogUniform, Study, Target, Trial, Uniform
from segsweep.config.narrow import narrow
from segsweep.config.study import SOURCE_RATE
from segsweep.errors import UserError
from segsweep.records import load
from segsweep.report.text import table_text
from segsweep.sweep.check import rehearsal_of
from segsweep.sweep.decisions import ResumeState, Skipped
from segsweep.sweep.planner import Planner
from segsweep.sweep.points import points_remarks, spread_values
from segsweep.sweep.rows import planned_rows
from segsweep.sweep.runners import most_at_once
from segsweep.sweep.simulated import Simulation
from segsweep.tasks.stage_task import STAGE, StageTask
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TRIAL

RATES = {SOURCE_RATE: LogUniform(1e-4, 1e-1)}


def tuned_study(**changes: object) -> Study:
    """Return the small study with three learning rates per source."""
    values = {"tune": {"learning_rate": LogUniform(1e-5, 1e-2), **RATES}, "source_trials": 3}
    return small_study(**{**values, **changes})


def improving(trial: Trial, epoch: int) -> float:  # noqa: ARG001
    """Invent a validation IoU that grows with the epochs."""
    return 0.5 + 0.01 * epoch


class Ran:
    """A simulated study whose source stages are best at the rate nearest 1e-2."""

    def __init__(
        self, study: Study, resume: ResumeState | None = None, broken: frozenset[str] = frozenset(), workers: int = 2
    ) -> None:
        self.built: dict[str, str] = {}
        self.rate_of = {
            stage.key(None): stage.settings["learning_rate"] for stage in plan_of(study).stages() if stage.parent is None
        }
        self.planner = Planner(plan_of(study), built_in(self.built), resume, read_stage=self.read)
        self.simulation = Simulation(self.planner, improving, workers, broken=broken, built=self.built)

    def read(self, key: str) -> float:
        """Return the reading of a stage."""
        return 1 - abs(math.log10(self.rate_of[key]) + 2) / 10

    def run(self) -> "Ran":
        """Run it to its end."""
        self.simulation.run()
        return self

    def stages(self) -> list[Task]:
        """Return the built stages, in order."""
        return [each.task for each in self.simulation.events if each.what == "finished" and each.task.kind == STAGE]

    def trials(self) -> list[Task]:
        """Return the trials that ran, in order."""
        return [each.task for each in self.simulation.events if each.what == "finished" and each.task.kind == TRIAL]


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_each_rate_is_trained_once_and_the_best_by_its_own_validation_is_used(workers: int) -> None:
    """Three rates are trained for the one source of four cells, and every trial that needs it starts from the best of them."""
    ran = Ran(tuned_study(), workers=workers).run()
    rates = [work.spec.settings["learning_rate"] for work in ran.stages()]
    assert len(rates) == len(set(rates)) == 3
    best = min(rates, key=lambda rate: abs(math.log10(rate) + 2))
    assert best != rates[0], "the test needs a best rate that is not the provisional one"
    used = {work.spec.settings.source_learning_rate for work in ran.trials() if work.spec.stage is not None}
    assert used == {best}
    assert {work.spec.stage.settings["learning_rate"] for work in ran.trials() if work.spec.stage} == {best}
    assert ran.planner.done
    assert len(ran.trials()) == 4 * (4 + 2)


def test_trials_without_a_source_do_not_wait_for_the_choice() -> None:
    """The cells of random weights run while the source's rates are tried; trials of the source start after the choice."""
    ran = Ran(tuned_study(), workers=1)
    planner = ran.planner
    first = [found for _ in range(20) if (found := planner.next()) is not None]
    assert sum(work.task.kind == STAGE for work in first) == 3
    assert {work.task.spec.settings.source for work in first if work.task.kind == TRIAL} == {"random"}
    undecided = [cell for cell in planner.plan.cells if planner.is_undecided(cell)]
    assert len(undecided) == 2
    assert not planner.done


def test_a_source_that_another_run_tries_is_chosen_as_soon_as_it_is_built() -> None:
    """The planner waits while another run builds the stages of all rates, then starts the trials of the chosen one at once."""
    ran, taken = Ran(tuned_study(compare={"source": ["supervised:voc2012"]})), True
    planner = Planner(plan_of(ran.planner.plan.study), built_in(ran.built), is_being_built=lambda *_: taken, read_stage=ran.read)
    assert planner.next() is None
    assert not planner.done
    ran.built.update(dict.fromkeys(ran.rate_of, "content"))
    taken = False
    found = [each.task for each in iter(planner.next, None)]
    assert {task.kind for task in found} == {TRIAL}
    assert len(found) == 4


def test_ids_of_trials_depend_only_on_the_chosen_rate() -> None:
    """A study with the chosen rate as a fixed one has the same trials as the tuned one: nothing is computed twice."""
    ran = Ran(tuned_study()).run()
    chosen = next(iter(ran.planner.source_choices.values())).chosen.learning_rate
    again = plan_of(small_study(fixed={"epochs": 4, "precision": "float32", SOURCE_RATE: chosen}))
    assert {trial.trial_id for cell in again.cells for trial in cell.tuning} <= {work.identity for work in ran.trials()}


def test_a_rate_that_fails_is_not_chosen() -> None:
    """A diverging rate leaves the choice to the others; if all fail, the cells end with a reason that states it."""
    study = tuned_study()
    ran = Ran(study)
    best = max(ran.rate_of, key=ran.read)
    spec = next(stage for stage in ran.planner.plan.stages() if stage.key(None) == best)
    ran.planner.task_ended(StageTask(spec), "training loss is nan")
    ran.run()
    choice = next(iter(ran.planner.source_choices.values()))
    assert choice.chosen.stage.spec_id != spec.spec_id
    assert [reading is None for _, reading in choice.tried].count(True) == 1
    broken = Ran(study, broken=frozenset({"supervised:voc2012"})).run()
    reasons = {each.reason for each in broken.simulation.decisions if isinstance(each, Skipped)}
    assert reasons == {"source stage supervised:voc2012 failed with each of 3 learning rates: broken"}
    assert broken.planner.done


def test_a_choice_stands_without_the_stages_that_lost() -> None:
    """Readings in the records decide like those of the store: stages that were not chosen are not trained again."""
    ran = Ran(tuned_study()).run()
    readings = {work.identity: ran.read(work.spec.key(None)) for work in ran.stages()}
    again = Ran(tuned_study(), ResumeState(stage_readings=readings))
    assert {name: each.chosen.learning_rate for name, each in again.planner.source_choices.items()} == {
        name: each.chosen.learning_rate for name, each in ran.planner.source_choices.items()
    }
    again.run()
    assert len(again.stages()) == 1


def test_source_seeds_have_the_rate_that_the_first_chose() -> None:
    """With two source models, the second is trained only at the chosen rate."""
    ran = Ran(tuned_study(source_seeds=2)).run()
    assert [work.spec.seed for work in ran.stages()].count(1) == 1
    rates = {work.spec.settings["learning_rate"] for work in ran.stages() if work.spec.seed == 1}
    assert rates == {next(iter(ran.planner.source_choices.values())).chosen.learning_rate}


def test_later_stages_are_trained_only_from_the_choice() -> None:
    """A self-supervised stage after a tuned supervised one is trained once, from the chosen one, at its fixed rate."""
    source = "supervised:voc2012+simclr:cats_dogs"
    ran = Ran(tuned_study(compare={"source": [source]})).run()
    assert [work.spec.stage.kind for work in ran.stages()] == ["supervised"] * 3 + ["simclr"]
    assert {work.spec.settings["learning_rate"] for work in ran.stages() if work.spec.stage.kind == "simclr"} == {1e-3}


def test_planned_rows_follow_the_choice() -> None:
    """Before the choice, the rows of a source's trials have no rate and provisional ids; afterwards the final ones."""
    ran = Ran(tuned_study())
    before = [row for row in planned_rows(ran.planner) if row["source"] != "random"]
    assert all(row["trial_id"].endswith("-undecided") and row[SOURCE_RATE] is None for row in before)
    ran.run()
    tuning = {row["trial_id"] for row in planned_rows(ran.planner) if row["phase"] == "tune"}
    assert tuning == {work.identity for work in ran.trials() if work.spec.phase == "tune"}


def test_rates_come_from_the_range_of_the_trials_unless_sources_have_one() -> None:
    """Without their own range, sources use that of the tuned learning rate."""
    own, shared = tuned_study(), tuned_study(tune={"learning_rate": LogUniform(1e-5, 1e-2)})
    assert own.range_of_source_rates == LogUniform(1e-4, 1e-1)
    assert shared.range_of_source_rates == LogUniform(1e-5, 1e-2)
    assert small_study().range_of_source_rates is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tune": {}, "source_trials": 2}, "neither source_learning_rate nor learning_rate has a range"),
        ({"source_trials": 1}, "would try one source_learning_rate of the range in tune"),
        ({"fixed": {SOURCE_RATE: 1e-3}, "tune": {"learning_rate": LogUniform(1e-5, 1e-2)}}, "is in fixed, so no rate is left"),
        ({"fixed": {SOURCE_RATE: 1e-3}}, "source_learning_rate has two roles"),
        ({"tune": {"source_epochs": Choice(1, 2)}}, "only its learning rate is tuned"),
        ({"source_trials": 0}, "source_trials=0: must be a whole number >= 1"),
    ],
)
def test_contradictions_are_rejected(changes: dict[str, object], message: str) -> None:
    """Settings that cannot be tried, or leave no choice, are errors when the study is built."""
    with pytest.raises(UserError, match=message):
        tuned_study(**changes)


def test_a_command_line_sets_the_rates_of_sources() -> None:
    """One rate ends the tuning of sources, a list is tried in order, a range and a number replace those of the study."""
    study = tuned_study()
    one = narrow(study, ["source_learning_rate=1e-3"])
    assert (one.source_trials, one.range_of_source_rates, one.fixed[SOURCE_RATE]) == (1, None, 1e-3)
    listed = narrow(study, ["source_learning_rate=1e-3,1e-2"])
    assert (listed.source_trials, listed.range_of_source_rates) == (2, Choice(1e-3, 1e-2))
    assert narrow(study, ["source_learning_rate=1e-5..1e-1"]).range_of_source_rates == LogUniform(1e-5, 1e-1)
    assert narrow(study, ["source_trials=5"]).source_trials == 5
    assert narrow(study, ["source_trials=1"]).range_of_source_rates is None


@pytest.fixture(scope="module")
def tried(tiny_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real study whose source was tried with two learning rates."""
    folder = tmp_path_factory.mktemp("tried")
    segsweep.run(with_two_rates(tiny_study), out=folder / "runs", runner="inline", device="cpu", threads=1)
    return folder / "runs" / "tried"


def with_two_rates(study: Study) -> Study:
    """Return a study of one cell whose source has two learning rates."""
    source = study.grids[0]["source"][1]
    return replace(study, name="tried", compare={"source": [source]}, source_trials=2, seeds=1)


def test_records_and_table_list_the_tried_rates(tried: Path) -> None:
    """Both stages are recorded with their readings, the choice names the better one, and the table lists both."""
    records = load(tried)
    stages = records.stages.set_index("stage_id")
    assert len(stages) == 2
    (choice,) = records.choices.values()
    readings = {each["stage_id"]: each["reading"] for each in choice["source"]["tried"]}
    assert readings == stages["val_reading"].to_dict()
    curves = records.epochs[records.epochs["phase"] == "stage"].groupby("trial_id")["val_iou"]
    assert readings == pytest.approx(curves.apply(lambda values: values.tail(3).mean()).to_dict())
    best = max(readings, key=readings.__getitem__)
    assert set(records.trials["stage_id"]) == {best}
    rate = json.loads(stages.loc[best, "settings"])["learning_rate"]
    assert set(records.trials["source_learning_rate"]) == {rate} == {choice["source"]["learning_rate"]}
    assert records.trials["planned"].all()
    text = table_text(records)
    assert "Source learning rates, chosen by the source's own validation split" in text
    assert all(f"{each['learning_rate']:.3g}: {each['reading']:.4f}" in text for each in choice["source"]["tried"])
    assert "not tuned" not in text


def test_a_second_start_trains_no_source_again(tried: Path, tiny_study: Study) -> None:
    """A finished study restores its choice, even if the store has lost the tried stages."""
    shutil.rmtree(tried.parent.parent / "store" / "weights")
    before = load(tried).trials["started_at"].tolist()
    again = segsweep.run(with_two_rates(tiny_study), out=tried.parent, runner="inline", device="cpu", threads=1)
    assert again.trials["started_at"].tolist() == before
    assert (again.stages["starts"] == 1).all()
    assert not (tried.parent.parent / "store" / "weights").exists()


def test_rates_are_spread_over_their_range() -> None:
    """Three rates are the middle of the range and its quarters, on a logarithmic scale; more rates begin with the same ones."""
    study = tuned_study(source_trials=3)
    tried = [rate.learning_rate for cell in plan_of(study).cells if cell.source_rates for rate in cell.source_rates][:3]
    assert tried == pytest.approx([10**-2.5, 10**-3.25, 10**-1.75], rel=1e-3)
    assert spread_values(Uniform(0.0, 1.0), 7) == [0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]
    assert spread_values(Choice(3, 1, 2), 2) == [3, 1]


def test_a_rate_at_the_edge_of_the_tried_ones_is_marked(tried: Path) -> None:
    """With two rates, one is always the lowest and one the highest: the chosen one is marked, and the table states the remedy."""
    text = unwrapped(table_text(load(tried)))
    assert f"{load(tried).trials['source_learning_rate'].iloc[0]:.3g}*" in text
    assert "widen the range of source_learning_rate" in text


def test_a_rehearsal_tries_one_rate_on_one_fold() -> None:
    """`--check` rehearses each source stage once and each cell on its first fold, without remarks on listed values."""
    study = tuned_study(target=Target("pets", protocol="5-fold"), tune={"learning_rate": Choice(1e-3, 1e-2), **RATES})
    rehearsal = rehearsal_of(study)
    plan = plan_of(rehearsal)
    assert len(plan.stages()) == 1
    assert {cell.settings.fold for cell in plan.cells} == {1}
    assert points_remarks(rehearsal) == []


def test_workers_are_counted_for_folds_and_rates() -> None:
    """The number of tasks that can run at once is cells times folds times the largest number of trials, seeds or source rates."""
    untuned = small_study(target=Target("pets", protocol="5-fold"), tune={}, seeds=1)
    assert most_at_once(untuned) == 4 * 5
    assert most_at_once(tuned_study(trials_per_cell=1, seeds=1)) == 4 * 3


def test_a_retry_does_not_change_a_choice() -> None:
    """`--retry-failed` trains a diverged rate again only if no other rate of the source could be chosen."""
    ran = Ran(tuned_study())
    spec = next(stage for stage in ran.planner.plan.stages() if stage.parent is None)
    others = {rate.stage.spec_id: 0.5 for cell in ran.planner.plan.cells for rate in cell.source_rates} | {spec.spec_id: None}
    readings = {stage: value for stage, value in others.items() if value is not None}
    again = Ran(tuned_study(), ResumeState(stage_readings=readings, retried_stages=frozenset({spec.spec_id})))
    assert len(again.planner.source_choices) == 2
    nothing = Ran(tuned_study(), ResumeState(retried_stages=frozenset(others)))
    assert nothing.planner.source_choices == {}
    nothing.run()
    assert len(nothing.stages()) == 3
