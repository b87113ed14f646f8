"""Invariants of the planner, in random studies in which workers die, artifacts are lost, and trials pause."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from studies import built_in, plan_of, small_study

from segsweep.config import LogUniform, PerCellASHA, Target
from segsweep.config.keep import Reading
from segsweep.config.study import SOURCE_RATE
from segsweep.config.work import StageSpec
from segsweep.sweep import early_stopping
from segsweep.sweep.decisions import Ended, Skipped, StoppedWhilePaused, Verdict
from segsweep.sweep.early_stopping import CellCurves
from segsweep.sweep.plan import Plan
from segsweep.sweep.planner import Planner
from segsweep.tasks.stage_task import STAGE
from segsweep.tasks.task import Assignment, Task

SOURCES = ["random", "imagenet", "supervised:voc2012", "simclr:coco+supervised:voc2012", "supervised:voc2012+supervised:coco"]
RUNS = 25
EVENTS = 20_000  # more than any of these studies needs: one with more is endless


def random_plan(chance: random.Random) -> Plan:
    """Return the plan of a random study: chains, tuned source rates, source seeds, folds, shared tuning trials."""
    changes: dict[str, Any] = {
        "compare": {
            "source": chance.sample(SOURCES, chance.randint(1, 3)),
            "test_size": chance.choice([["image_px"], ["image_px", "original"]]),
        },
        "target": Target("pets", protocol=chance.choice(["60-20-20", "60-20-20", "3-fold"])),
        "fixed": {"epochs": chance.randint(1, 4), "precision": "float32"},
        "trials_per_cell": chance.randint(1, 4),
        "seeds": chance.randint(1, 2),
        "source_seeds": chance.randint(1, 2),
        "early_stopping": PerCellASHA(),  # the test replaces it by `AnyVerdict`
    }
    if chance.random() < 0.5:
        changes |= {"tune": {"learning_rate": LogUniform(1e-5, 1e-2), SOURCE_RATE: LogUniform(1e-4, 1e-1)}, "source_trials": 2}
    return plan_of(small_study(**changes))


class AnyVerdict:
    """A rule that decides randomly, also on a paused trial."""

    def __init__(self, settings: PerCellASHA) -> None:
        self.chance = random.Random(str(settings))

    def decide(self, trial: str, epoch: int, planned: int, cell: CellCurves) -> Verdict:  # noqa: ARG002
        """Continue most trials."""
        return self.chance.choices(list(Verdict), weights=[6, 1, 2])[0]


class Run:
    """Executes a plan on some workers with random events, and checks the invariants after each event."""

    def __init__(self, chance: random.Random, disturbances: float) -> None:
        self.chance, self.disturbances = chance, disturbances
        self.store: dict[str, str] = {}
        self.elsewhere: set[str] = set()  # keys of artifacts that another run makes
        self.running: dict[str, tuple[Assignment, int]] = {}  # id -> the epoch in the checkpoint
        self.paused: dict[str, int] = {}
        self.ends: Counter[str] = Counter()  # ids of finished, failed or skipped trials
        self.workers = chance.choice([1, 2, 5, 50])
        self.planner = Planner(random_plan(chance), built_in(self.store), is_being_built=self.is_being_built, price=self.price)
        self.planner.workers = self.workers

    def price(self, task: Task) -> float:
        """Return an invented duration."""
        return 0.1 * len(task.describe())

    def is_being_built(self, kind: str, key: str) -> bool:  # noqa: ARG002
        """Decide randomly that another run is building an artifact, which then exists at the next lookup."""
        if self.chance.random() < self.disturbances:
            self.elsewhere.add(key)
        return key in self.elsewhere

    def run(self) -> None:
        """Run to the end. Fails after too many events."""
        for _ in range(EVENTS):
            self.read_news()
            self.start()
            if not self.running and not self.elsewhere:
                break
            self.store.update((key, f"content of {key}") for key in self.elsewhere)
            self.elsewhere.clear()
            if self.running:
                self.advance(*self.running.pop(self.chance.choice(list(self.running))))
        assert self.planner.done, "the planner returns nothing with all workers free"

    def start(self) -> None:
        """Assign a task to every free worker, and check that no other task could start."""
        while len(self.running) < self.workers and (assignment := self.planner.next()) is not None:
            identity = assignment.task.identity
            assert identity not in self.running
            assert self.ends[identity] == 0
            assert all(key in self.store for key in assignment.keys)
            assert len(assignment.keys) == len(assignment.task.needs)
            self.running[identity] = (assignment, self.paused.pop(identity, 0))
        assert not (self.planner.done and self.running)
        if len(self.running) < self.workers and not self.elsewhere:
            assert list(self.could_start()) == []

    def could_start(self) -> Iterator[str]:
        """Yield the trials that have not ended, neither run nor pause, and whose source is in the store."""
        for cell in self.planner.plan.cells:
            for trial in self.planner.trials(cell):
                known = {*self.planner.ended(cell), *self.running, *self.paused}
                if trial.trial_id not in known and self.is_built(trial.stage):
                    yield trial.trial_id

    def is_built(self, stage: StageSpec | None) -> bool:
        """Return whether all stages of a source are in the store."""
        return stage is None or (self.is_built(stage.parent) and self.key(stage) in self.store)

    def key(self, stage: StageSpec) -> str:
        """Return the key of a stage."""
        return stage.key(f"content of {self.key(stage.parent)}" if stage.parent else None)

    def advance(self, assignment: Assignment, epoch: int) -> None:
        """Let a task die, find its source lost, fail, or complete one epoch, at random."""
        task, planner = assignment.task, self.planner
        if self.chance.random() < self.disturbances:
            if self.store and self.chance.random() < 0.5:
                del self.store[self.chance.choice(list(self.store))]
                planner.recheck_artifacts()
            planner.requeue(task)
        elif self.chance.random() < self.disturbances / (1 if task.kind == STAGE else 4):
            self.end(task, "failed")
        elif task.kind == STAGE:
            key = task.key([f"content of {key}" for key in assignment.keys])
            self.store[str(key)] = f"content of {key}"
            planner.task_ended(task)
        else:
            verdict = planner.report(task, task.identity, epoch + 1, Reading(self.chance.random()))
            if epoch + 1 == task.results:
                self.end(task, "finished")
            elif verdict is Verdict.CONTINUE:
                self.running[task.identity] = (assignment, epoch + 1)
            elif verdict is Verdict.PAUSE:
                self.paused[task.identity] = epoch + 1
            else:
                self.end(task, "stopped")

    def end(self, task: Task, status: str) -> None:
        """Report an end. A stopped trial may run again, others may not."""
        self.ends[task.identity] += status != "stopped"
        self.planner.record_ended(task.identity, Ended(status))
        self.planner.task_ended(task, "broken" if status == "failed" else None)

    def read_news(self) -> None:
        """End the paused trials that the planner stops, and count the trials that it skips."""
        while self.planner.decisions:
            match self.planner.decisions.popleft():
                case StoppedWhilePaused(task):
                    del self.paused[task.identity]
                    self.end(task, "stopped")
                case Skipped(task, _):
                    self.ends[task.identity] += 1
                    self.paused.pop(task.identity, None)


@pytest.mark.parametrize("disturbances", [0.0, 0.1, 0.4])
def test_whatever_happens_each_trial_ends_once(disturbances: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """No task starts before the tasks that it needs, or twice; no worker idles while a task is ready; all planned work ends."""
    monkeypatch.setattr(early_stopping, "RULES", {PerCellASHA: AnyVerdict})
    for number in range(RUNS):
        run = Run(random.Random(f"{number} {disturbances}"), disturbances)
        run.run()
        planner = run.planner
        assert not run.paused
        assert set(run.ends.values()) <= {0, 1}
        for cell in planner.plan.cells:
            assert set(planner.ended(cell)) == {trial.trial_id for trial in planner.trials(cell)}
            assert (cell.key in planner.choices) != (cell.key in planner.unchosen)
        assert planner._schedule.seconds_left == pytest.approx(0.0, abs=1e-6)
        assert not planner.missing_stages()
