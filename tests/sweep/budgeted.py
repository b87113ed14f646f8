"""Simulated studies with a budget, whose tasks take other times than predicted."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from studies import built_in, plan_of

from segsweep.config import LogUniform, Study, Target
from segsweep.config.work import Trial
from segsweep.sweep.budget import Limits, Share
from segsweep.sweep.decisions import ResumeState
from segsweep.sweep.ledger import Ledger
from segsweep.sweep.planner import Planner
from segsweep.sweep.rounds import Budget
from segsweep.sweep.simulated import Clock, Simulation
from segsweep.tasks.task import Task
from segsweep.tasks.trial_task import TRIAL

STAGE_SECONDS, TRIAL_SECONDS = 400.0, 100.0  # predicted; trials in proportion to their fraction


def grid(**changes: Any) -> Study:
    """Return a study of 36 cells with eight tuning trials and three seeds each, and two trained sources."""
    values: dict[str, Any] = {
        "name": "grid",
        "target": Target("pets"),
        "compare": {
            "source": ["random", "supervised:voc2012", "supervised:coco"],
            "architecture": ["unet-resnet18", "unet-mobilenet_v2"],
            "freeze": ["none", "encoder"],
            "fraction": [0.25, 0.5, 1.0],
        },
        "tune": {"learning_rate": LogUniform(1e-5, 1e-2)},
        "fixed": {"epochs": 4, "precision": "float32"},
        "trials_per_cell": 8,
        "seeds": 3,
    }
    return Study(**{**values, **changes})


def price(task: Task) -> float:
    """Return the predicted duration of a task."""
    return STAGE_SECONDS if task.results is None else TRIAL_SECONDS * float(task.spec.settings.fraction)


@dataclass
class BudgetedRun:
    """A simulated run of a study within limits, on some workers.

    Each task takes between `1 - error` and `1 + error` times its predicted duration, multiplied by `slowness`; stages also by
    `stage_slowness`, tuning trials after the third point by `late_slowness`, confirmed runs by `confirm_slowness`.
    """

    study: Study
    limits: Limits | None
    workers: int = 1
    error: float = 0.3
    slowness: float = 1.0
    stage_slowness: float = 1.0
    late_slowness: float = 1.0
    confirm_slowness: float = 1.0
    seed: int = 0
    resume: ResumeState | None = None
    spent: float = 0.0
    closed_at: int | None = None
    built: dict[str, str] = field(default_factory=dict)
    readings: dict[str, dict[int, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock()
        budget = None
        if self.limits is not None:
            ledger = Ledger(self.limits, price, spent=self.spent, now=self.clock, passed=self.clock)
            budget = Budget(ledger, self.workers, self.closed_at)
        self.planner = Planner(plan_of(self.study), built_in(self.built), self.resume, price=price, budget=budget)
        self.simulation = Simulation(
            self.planner,
            self.val_iou,
            self.workers,
            task_seconds=self.seconds,
            epoch_seconds=lambda task: self.seconds(task) / task.results,
            built=self.built,
            clock=self.clock,
        )

    def seconds(self, task: Task) -> float:
        """Return the true duration of a task."""
        chance = random.Random(f"{self.seed} {task.identity}")
        kind = self.stage_slowness
        if task.kind == TRIAL:
            late = self.late_slowness if task.spec.point is not None and task.spec.point >= 3 else 1.0
            kind = self.confirm_slowness if task.spec.phase == "confirm" else late
        return price(task) * self.slowness * kind * chance.uniform(1 - self.error, 1 + self.error)

    def val_iou(self, trial: Trial, epoch: int) -> float:
        """Return a reading that depends on the learning rate, the cell and the seed."""
        chance = random.Random(f"{trial.cell} {trial.settings.learning_rate} {trial.seed}")
        return chance.uniform(0.3, 0.6) + 0.01 * epoch

    def run(self, until_seconds: float = float("inf")) -> "BudgetedRun":
        """Run to the end, and return this run."""
        self.simulation.run(until_seconds)
        return self

    @property
    def started(self) -> list[tuple[float, Task]]:
        """The time of each start, and its task."""
        return [(event.seconds, event.task) for event in self.simulation.events if event.what == "start"]

    @property
    def device_seconds(self) -> float:
        """The true duration of all tasks that have started."""
        return sum(self.seconds(task) for _, task in self.started)

    def trials(self, phase: str) -> Counter[str]:
        """Return the number of ended trials of one phase in every cell, by its name and fold."""
        counts = Counter[str]()
        for cell in self.planner.plan.cells:
            ended = self.planner.ended(cell)
            counts[cell.key] = sum(trial.phase == phase and trial.trial_id in ended for trial in self.planner.trials(cell))
        return counts

    def share(self) -> Share:
        """Return the number of tuning points and of confirmed seeds that every cell has."""
        return Share(min(self.trials("tune").values()), min(self.trials("confirm").values()))

    def state(self) -> ResumeState:
        """Return what the next start finds in the records of this one."""
        ended = {identity: end for cell in self.planner.plan.cells for identity, end in self.planner.ended(cell).items()}
        curves: dict[str, dict[str, dict[int, Any]]] = {"tune": {}, "confirm": {}}
        for trial, epoch, found in self.reported():
            curves[trial.phase].setdefault(trial.trial_id, {})[epoch] = found
        return ResumeState(ended, curves["tune"], confirm_curves=curves["confirm"])

    def reported(self) -> Iterator[tuple[Trial, int, Any]]:
        """Yield every epoch that was reported: trial, epoch and reading."""
        from segsweep.config.keep import Reading

        for event in self.simulation.events:
            if event.what == "epoch" and event.task.kind == TRIAL:
                yield event.task.spec, event.epoch, Reading(self.val_iou(event.task.spec, event.epoch))


def full_price(study: Study) -> float:
    """Return the predicted device time of a whole study."""
    run = BudgetedRun(study, Limits(float("inf")))
    assert run.planner.rounds is not None
    return run.planner.rounds.seconds(run.planner.rounds.declared)
